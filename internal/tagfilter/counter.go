package tagfilter

// Counter returns for a list that is read piece by piece what [Filter.Choose] returns for a complete list. It keeps no tags but the filter's
// literals.
type Counter struct {
	filter Filter
	counts []count
}

// count counts the tags that one set of the filter chooses.
type count struct {
	all, byPattern int
	named          []string
}

// Counter returns a counter for a filter that does not rank: it chooses the tags for which CanChoose is true.
func (f Filter) Counter() *Counter { return &Counter{f, make([]count, len(f.sets))} }

// Add counts a tag of the list. Each tag must be added only once.
func (c *Counter) Add(tag string) {
	if !isTag(tag) {
		return
	}
	for i := range c.filter.sets {
		s, n := &c.filter.sets[i], &c.counts[i]
		_, byPattern := s.candidate(tag)
		named := s.names(tag)
		if byPattern {
			n.byPattern++
		}
		if named {
			n.named = append(n.named, tag)
		}
		if byPattern || named {
			n.all++
		}
	}
}

// Lacks returns what the list lacks, as the fields Absent and Short of a [Choice].
func (c *Counter) Lacks() Choice {
	var choice Choice
	for i, n := range c.counts {
		c.filter.sets[i].lack(&choice, n.all, n.byPattern, unique(n.named))
	}
	choice.Absent = unique(choice.Absent)
	return choice
}
