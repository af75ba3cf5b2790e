package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/cmd/draybench/internal/corpus"
	"github.com/draysync/dray/cmd/draybench/internal/peer"
	"github.com/draysync/dray/cmd/draybench/internal/result"
	"github.com/draysync/dray/cmd/draybench/internal/server"
)

// patience is how long a tool may take for one scenario. Some are slow: a process for each of 1000 tags, or twenty
// requests one after the other for each.
const patience = 30 * time.Minute

// Options say what to measure.
type Options struct {
	Shapes    []corpus.Shape
	Scenarios []string // of Scenarios
	Runs      int
	Latencies []time.Duration
	Tools     []peer.Tool
	Registry  server.Kind
	TLS       bool      // between tools and registries; each proxy has an authority of its own
	Dir       string    // for filled sources, which stay, and for targets, which do not
	Progress  io.Writer // a line for each measurement
}

// Measure runs everything: for each corpus and latency the first run of every tool, then the second of every tool, and so
// on. The report has what was measured until an error.
func Measure(ctx context.Context, options Options) (result.Report, error) {
	report := result.Report{Tools: options.Tools}
	scenarios, err := needed(options.Scenarios)
	if err != nil {
		return report, err
	}
	name, err := options.Registry.Find(ctx)
	if err != nil {
		return report, err
	}
	report.Machine = machine(name)
	report.TLS = options.TLS
	for _, shape := range options.Shapes {
		b := bench{Options: options, scenarios: scenarios, report: &report}
		if err := b.corpus(ctx, shape); err != nil {
			return report, err
		}
	}
	return report, nil
}

// bench measures with one corpus.
type bench struct {
	Options
	scenarios []string // all that are needed
	report    *result.Report
	source    *corpus.Source
}

func (b *bench) say(format string, arguments ...any) {
	fmt.Fprintf(b.Progress, "draybench: "+format+"\n", arguments...)
}

func (b *bench) corpus(ctx context.Context, shape corpus.Shape) (err error) {
	b.say("%s: preparing the source below %s", shape.Name, b.Dir)
	folder, err := shape.Fill(ctx, b.Registry, b.Dir)
	if err != nil {
		return err
	}
	if b.source, err = corpus.Open(ctx, b.Registry, folder); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.source.Close()) }()
	content := b.source.Content
	about := result.Corpus{
		Name: shape.Name, Description: shape.String(), Repositories: len(content.Repositories), Tags: content.Tags(),
		Unique: content.Unique, PerRepository: content.PerRepository, Rebuilt: content.Rebuilt.Bytes,
	}
	b.report.Corpora = append(b.report.Corpora, about)
	b.say("%s", about)
	for _, latency := range b.Latencies {
		for number := range b.Runs {
			for _, tool := range b.Tools {
				if err := b.run(ctx, latency, number+1, tool); err != nil {
					return fmt.Errorf("%s, run %d of %s: %w", shape.Name, number+1, tool.Name, err)
				}
			}
		}
	}
	return nil
}

// run lets a tool go through the scenarios once.
func (b *bench) run(ctx context.Context, latency time.Duration, number int, tool peer.Tool) (err error) {
	s, err := newStand(ctx, b.Registry, b.Dir, b.source, latency, b.TLS)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	requests := map[string]int{}
	for _, scenario := range b.scenarios {
		run := result.Run{
			Key:  result.Key{Corpus: b.source.Content.Corpus, Scenario: scenario, Latency: latency.Seconds()},
			Tool: tool.Name, Number: number,
		}
		if err := b.measure(ctx, s, tool, &run); err != nil {
			return err
		}
		requests[scenario] = run.Source.Total() + run.Target.Total()
		if scenario == moved {
			run.Beyond = requests[moved] - requests[noop]
		}
		if !slices.Contains(b.Scenarios, scenario) {
			continue
		}
		b.report.Runs = append(b.report.Runs, run)
		b.say("%s", run)
	}
	return nil
}

// measure runs a tool in one scenario and looks at what came of it.
func (b *bench) measure(ctx context.Context, s *stand, tool peer.Tool, run *result.Run) (err error) {
	todo := plan(b.source.Content, run.Scenario)
	home := "home"
	if run.Scenario == forgotten {
		home = "new home" // the other one remembers what is needed to judge what comes later
	}
	work, err := s.work(todo.copies, home)
	if err != nil {
		return err
	}
	if run.Scenario == moved {
		if err := s.source.Move(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.source.Restore(context.WithoutCancel(ctx))) }()
	}
	if run.Scenario == listed {
		s.list(todo)
		defer s.list(task{})
		for range learned {
			if _, err := tool.Run(ctx, work); err != nil {
				return err
			}
		}
	}
	watch, err := watchLitter(work.TempDir())
	if err != nil {
		return err
	}
	s.before.Reset()
	s.behind.Reset()
	patient, cancel := context.WithTimeout(ctx, patience)
	usage, err := tool.Run(patient, work)
	cancel()
	run.Temporary = watch.stop()
	if err := errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	count(s, usage, run)
	deep := run.Number == 1 && run.Scenario != noop && run.Scenario != listed
	judge(newChecker(s.target.URL).check(ctx, todo.want, deep), usage, run)
	return ctx.Err()
}

// learned is how often a tool runs with registries that list digests before it is measured: it sees what they are, and compares some of it.
const learned = 2

// count fills in what the tool took and what passed the proxies.
func count(s *stand, usage peer.Usage, run *result.Run) {
	run.Wall, run.CPU, run.PeakRSS, run.Exit = usage.Wall.Seconds(), usage.CPU.Seconds(), usage.PeakRSS, usage.Exit
	before, behind := s.before.Requests(), s.behind.Requests()
	run.Source, run.Target = result.Count(before), result.Count(behind)
	run.Fetched, run.Sent = result.CountFetched(before), result.CountSent(behind)
}

// judge marks a run that failed, or left the target incomplete.
func judge(missing error, usage peer.Usage, run *result.Run) {
	var wrong []string
	if usage.Exit != 0 {
		wrong = append(wrong, fmt.Sprintf("exit code %d", usage.Exit))
	}
	if missing != nil {
		wrong = append(wrong, missing.Error())
	}
	if len(wrong) > 0 {
		run.Incomplete, run.Stderr = strings.Join(wrong, ", "), usage.Stderr
	}
}
