package mirror

import (
	"fmt"
	"testing"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// TestListableImages: the tags of thousands of images of one repository are gathered at once, and not one after another.
func TestListableImages(t *testing.T) {
	from, to := image.Repository{Registry: "a.example", Path: "app"}, image.Repository{Registry: "b.example", Path: "app"}
	allocations := func(n int) float64 {
		var all selection
		for i := range n {
			tag := fmt.Sprintf("v%d", i)
			all = append(all, selected{image: true, source: from.Tag(tag), targets: []image.Reference{to.Tag(tag)}})
		}
		return testing.AllocsPerRun(1, func() {
			wanted := new(Mirror).listable(plan.Job{}, all)
			if wanted[from].Len() != n || wanted[to].Len() != n {
				t.Error(wanted[from].Len(), wanted[to].Len())
			}
		})
	}
	if few, many := allocations(1000), allocations(4000); many > 5*few {
		t.Errorf("1000 images take %v allocations, 4000 take %v", few, many)
	}
}
