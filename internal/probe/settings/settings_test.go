// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSelectedPorts(t *testing.T) {
	for name, test := range map[string]struct {
		filter    Filter
		selected  []uint16
		excluded  []uint16
		byPort    bool
		wantCount int
	}{
		"all":      {Filter{}, []uint16{0, 80, 65535}, nil, false, Ports},
		"some":     {Filter{IncludePorts: []PortRange{{80, 81}}}, []uint16{80, 81}, []uint16{79, 82}, true, 2},
		"but some": {Filter{ExcludePorts: []PortRange{{22, 22}}}, []uint16{21, 23}, []uint16{22}, true, Ports - 1},
		"an exclusion wins": {
			Filter{IncludePorts: []PortRange{{80, 90}}, ExcludePorts: []PortRange{{85, 85}}},
			[]uint16{84, 86},
			[]uint16{85},
			true, 10,
		},
	} {
		t.Run(name, func(t *testing.T) {
			selected := test.filter.SelectedPorts()
			for _, port := range test.selected {
				assert.EqualValues(t, 1, selected[port], port)
			}
			for _, port := range test.excluded {
				assert.Zero(t, selected[port], port)
			}
			count := 0
			for _, value := range selected {
				count += int(value)
			}
			assert.Equal(t, test.wantCount, count)
			assert.Equal(t, test.byPort, test.filter.ByPort())
		})
	}
}

func TestByClient(t *testing.T) {
	var f Filter
	assert.False(t, f.ByClient())
	f.ExcludeClients = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	assert.True(t, f.ByClient())
}
