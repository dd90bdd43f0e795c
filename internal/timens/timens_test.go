// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRead(t *testing.T) {
	t.Parallel()
	const other, third = "time:[4026532177]", "time:[4026532178]"
	for _, test := range []struct {
		name          string
		own, children string
		offsets       string
		want          Offsets
		err           string
	}{
		{name: "no time namespaces"},
		{name: "initial", own: initial, children: initial, offsets: "monotonic 0 0\nboottime 0 0\n"},
		{name: "initial, children elsewhere", own: initial, children: other, offsets: "boottime 86400 0\n"},
		{
			name: "shifted", own: other, children: other,
			offsets: "monotonic      -7200 500000000\nboottime       86400         1\n",
			want: Offsets{
				Monotonic: -2*time.Hour + 500*time.Millisecond,
				Boottime:  24*time.Hour + time.Nanosecond,
			},
		},
		{
			name: "children elsewhere", own: other, children: third, offsets: "boottime 86400 0\n",
			err: "start it as a child of the process that made the time namespace",
		},
		{name: "no file", own: other, children: other, err: "read the offsets of the time namespace"},
		{name: "garbage", own: other, children: other, offsets: "boottime x 0\n", err: "boottime x 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root := fstest.MapFS{}
			link := func(name, target string) {
				if target != "" {
					root["proc/self/ns/"+name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink}
				}
			}
			link("time", test.own)
			link("time_for_children", test.children)
			if test.offsets != "" {
				root["proc/self/timens_offsets"] = &fstest.MapFile{Data: []byte(test.offsets)}
			}
			got, err := Read(root)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}
