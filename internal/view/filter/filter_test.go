// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/event"
)

func TestWants(t *testing.T) {
	e := event.Event{Kind: event.Request, Process: "nginx", Duration: 0.3}
	unknown := e
	unknown.Duration = -1
	bad := e
	bad.Bad = true
	for name, of := range map[string]struct {
		filter Filter
		event  event.Event
		wants  bool
	}{
		"all":                     {Filter{}, e, true},
		"counts are for programs": {Filter{}, event.Event{Kind: event.Source}, false},
		"process":                 {Filter{Process: "ngi*"}, e, true},
		"another process":         {Filter{Process: "apache2"}, e, false},
		"failed":                  {Filter{Failed: true}, bad, true},
		"not failed":              {Filter{Failed: true}, e, false},
		"slow":                    {Filter{Slow: 300 * time.Millisecond}, e, true},
		"not slow enough":         {Filter{Slow: 301 * time.Millisecond}, e, false},
		"of unknown duration":     {Filter{Slow: time.Nanosecond}, unknown, false},
		"all conditions":          {Filter{Process: "nginx", Slow: time.Millisecond, Failed: true}, bad, true},
		"all conditions but one":  {Filter{Process: "x", Slow: time.Millisecond, Failed: true}, bad, false},
	} {
		assert.Equal(t, of.wants, of.filter.Wants(&of.event), name)
	}
	assert.NoError(t, (&Filter{Process: "a*"}).Check())
	assert.Error(t, (&Filter{Process: "["}).Check())
}
