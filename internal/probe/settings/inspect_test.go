// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestInspectedPorts(t *testing.T) {
	var none Inspect
	assert.False(t, none.On())
	_, found := none.BodiesOf(80)
	assert.False(t, found)

	some := Inspect{HTTP: []InspectedPorts{
		{PortRange: PortRange{80, 90}, Bodies: Bodies{Request: 10}},
		{PortRange: PortRange{90, 65535}, Bodies: Bodies{Request: 5, Answer: 20, Tail: 30}},
	}}
	assert.True(t, some.On())
	bodies, found := some.BodiesOf(90)
	assert.True(t, found)
	assert.Equal(t, Bodies{Request: 10, Answer: 20, Tail: 30}, bodies, "the greatest of overlapping ranges")
	windows := some.Windows()
	assert.Equal(t, []uint8{0, 15, 20, 20}, []uint8{windows[79], windows[80], windows[91], windows[65535]})
	large := Inspect{HeadBytes: 8 << 10, HTTP: []InspectedPorts{{PortRange: PortRange{80, 80}, Bodies: Bodies{Answer: 64 << 10}}}}
	assert.Equal(t, uint8(17), large.Windows()[80], "the body that is wanted, and a head before it")
}
