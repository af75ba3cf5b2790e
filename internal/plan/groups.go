package plan

import (
	"cmp"
	"slices"
	"strings"
)

// Groups divides the jobs by the repositories that they may write: jobs that share one, directly or through other jobs, are in the same
// group. Jobs of different groups can never contend for a tag, so they need not wait for each other's observations. A group has the indexes
// of its jobs, in their order.
func Groups(jobs []Job) [][]int {
	type claim struct {
		territory string // a repository, or the prefix of several, with a slash at the end
		job       int
	}
	var claims []claim
	leader := make([]int, len(jobs))
	for i, job := range jobs {
		leader[i] = i
		for _, target := range job.Targets {
			claims = append(claims, claim{target.Repository.String() + "/", i})
		}
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.territory, b.territory), cmp.Compare(a.job, b.job))
	})
	find := func(i int) int {
		for leader[i] != i {
			leader[i] = leader[leader[i]]
			i = leader[i]
		}
		return i
	}
	for i := 1; i < len(claims); {
		base := claims[i-1]
		for ; i < len(claims) && strings.HasPrefix(claims[i].territory, base.territory); i++ {
			a, b := find(base.job), find(claims[i].job)
			leader[max(a, b)] = min(a, b)
		}
		i++
	}
	members := map[int][]int{}
	var order []int
	for i := range jobs {
		l := find(i)
		if members[l] == nil {
			order = append(order, l)
		}
		members[l] = append(members[l], i)
	}
	groups := make([][]int, 0, len(order))
	for _, l := range order {
		groups = append(groups, members[l])
	}
	return groups
}
