package web

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

// pageTags is how many tags a page shows.
const pageTags = 100

// tagsView is the page of the tags at the targets of a job.
type tagsView struct {
	*head
	Job, Link, Search string
	Tags              []tagView
	Pager             pager
	// None says why there are no tags, and More that there may be others.
	None string
	More bool
	// Elsewhere is set where other processes run the job too.
	Elsewhere bool
}

// tagView is what is known of a tag.
type tagView struct {
	ID, Target, Digest, Whole string
	Imported, Looked          moment
}

// showing is the address of another page of the same job.
func showing(u *url.URL, show string, more url.Values) string {
	query := url.Values{"show": {show}}
	for key, values := range more {
		query[key] = values
	}
	return (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: query.Encode()}).String()
}

func (s *Server) tagsScreen(ctx context.Context, u *url.URL, v viewer, status *record.Snapshot, j *record.JobStatus) (*screen, error) {
	search := clean(strings.TrimSpace(u.Query().Get("q")))
	at := func(page int) string {
		more := url.Values{}
		if search != "" {
			more.Set("q", search)
		}
		if page > 1 {
			more.Set("page", strconv.Itoa(page))
		}
		return showing(u, "tags", more)
	}
	tags, list, err := s.tagsOf(ctx, j, search, u.Query().Get("page"))
	here, _ := url.Parse(at(list.Page)) // it is one
	p := &tagsView{
		head: s.headOf(status, v, "", here), Job: clean(j.Job), Link: (&url.URL{Path: u.Path, RawPath: u.RawPath}).String(), Search: search,
		Pager: list.pager(at), More: tags.More, Elsewhere: status.Ledger != nil,
	}
	p.Title = clean(j.Job) + ": tags"
	for _, t := range tags.List {
		p.Tags = append(p.Tags, tagViewOf(&t, status.Now))
	}
	switch {
	case errors.Is(err, ErrUnavailable):
		p.None = clean(err.Error())
	case err != nil:
		return nil, err
	case len(p.Tags) > 0:
	case search != "":
		p.None = "No tag that is known is like that."
	default:
		p.None = "Nothing is known of them: no run since the start of dray has looked at one, and no saved run has imported one."
	}
	return &screen{template: "tags", data: p, head: p.head, parts: []part{{"notices", "notices", p.head}, {"tags", "tag-list", p}, {"pager", "pager", p.Pager}}}, nil
}

// tagsOf returns the tags of a page, and which of the pages that is.
func (s *Server) tagsOf(ctx context.Context, j *record.JobStatus, search, page string) (record.Tags, sheet, error) {
	list := sheet{Size: pageTags, Noun: "tag"}
	if s.options.Details == nil {
		return record.Tags{}, list.at(""), nil
	}
	wanted, _ := strconv.Atoi(page) // the first, unless it is a number
	from := max(0, min(wanted-1, maxTagPages)) * pageTags
	tags, err := s.options.Details.Tags(ctx, j, search, from, pageTags)
	list.Whole = tags.Whole
	if list = list.at(page); err == nil && list.begin() != from {
		tags, err = s.options.Details.Tags(ctx, j, search, list.begin(), pageTags)
	}
	return tags, list, err
}

// maxTagPages is more than there can be.
const maxTagPages = 1 << 20

func tagViewOf(t *record.Tag, now time.Time) tagView {
	return tagView{
		ID: idOf("tag", t.Target), Target: clean(t.Target), Digest: shortDigest(t.Digest), Whole: clean(t.Digest),
		Imported: since(t.Imported, now), Looked: since(t.Looked, now),
	}
}
