// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// difference between what a golden file says of a way and what a kernel did.
type difference struct{ want, got probe.WayDiagnosis }

// permitted: the kernel permits what others of its version do not, or the other way
// round. Whatever else differs is a fault of ours, or a golden file that is out of date.
func (d difference) permitted() bool {
	refused := d.want
	if d.want.Works() {
		refused = d.got
	}
	return refused.Cause == probe.CausePermission || refused.Cause == probe.CauseExcluded
}

// differences are the ways that work for one and not for the other. Ways that only one
// of them knows are none: comparing the files shows them.
func differences(want, got *probe.Diagnosis) []difference {
	var all []difference
	for i := range got.Features {
		at := slices.IndexFunc(want.Features, func(f probe.FeatureDiagnosis) bool { return f.Name == got.Features[i].Name })
		if at < 0 {
			continue
		}
		for _, w := range want.Features[at].Ways {
			for _, g := range got.Features[i].Ways {
				if slices.Equal(w.Hooks, g.Hooks) && w.Works() != g.Works() {
					all = append(all, difference{w, g})
				}
			}
		}
	}
	return all
}

// nearest is the golden file with the fewest differences; nil without any.
func nearest(candidates []*probe.Diagnosis, got *probe.Diagnosis) (best *probe.Diagnosis, differ []difference) {
	for _, want := range candidates {
		if d := differences(want, got); best == nil || len(d) < len(differ) {
			best, differ = want, d
		}
	}
	return best, differ
}

// adoptRefusals gives ways that tests exclude the words of the kernel that refuses them.
func adoptRefusals(got, want *probe.Diagnosis) {
	for i := range got.Features {
		for j := range got.Features[i].Ways {
			g := &got.Features[i].Ways[j]
			if g.Cause != probe.CauseExcluded || i >= len(want.Features) || j >= len(want.Features[i].Ways) {
				continue
			}
			if w := want.Features[i].Ways[j]; slices.Equal(w.Hooks, g.Hooks) {
				g.Error, g.Cause = w.Error, w.Cause
			}
		}
	}
}

func TestNearestProfile(t *testing.T) {
	host := func(kernel string, causes ...probe.Cause) *probe.Diagnosis {
		d := &probe.Diagnosis{Kernel: kernel}
		for i, cause := range causes {
			name := string(rune('a' + i))
			d.Features = append(d.Features, probe.FeatureDiagnosis{
				Name: name, Ways: []probe.WayDiagnosis{{Hooks: []string{name}, Error: string(cause), Cause: cause}},
			})
		}
		return d
	}
	const works, refused, missing, excluded = probe.Cause(""), probe.CausePermission, probe.CauseMissing, probe.CauseExcluded
	all, fewer := host("1", works, works, refused), host("1-fewer", works, refused, refused)
	for _, test := range []struct {
		name      string
		got       *probe.Diagnosis
		want      string
		differ    int
		permitted bool
	}{
		{"the one", host("", works, works, refused), "1", 0, true},
		{"the other", host("", works, refused, refused), "1-fewer", 0, true},
		{"as if it were the other", host("", works, excluded, refused), "1-fewer", 0, true},
		{"still less is permitted", host("", refused, refused, refused), "1-fewer", 1, true},
		{"more is permitted", host("", works, works, works), "1", 1, true},
		{"something is gone", host("", missing, works, refused), "1", 1, false},
		{"a program is at fault", host("", probe.CauseVerifier, works, refused), "1", 1, false},
		{"a new feature", host("", works, works, refused, works), "1", 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			best, differ := nearest([]*probe.Diagnosis{all, fewer}, test.got)
			assert.Equal(t, test.want, best.Kernel)
			assert.Len(t, differ, test.differ)
			for _, d := range differ {
				assert.Equal(t, test.permitted, d.permitted())
			}
		})
	}
	got := host("1-fewer", works, excluded, refused)
	adoptRefusals(got, fewer)
	assert.Equal(t, fewer, got)
	none, _ := nearest(nil, got)
	assert.Nil(t, none)
}
