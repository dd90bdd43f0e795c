// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSummary(t *testing.T) {
	tests := []struct {
		name, events string
		want         summary
		shown        string
	}{
		{
			name: "pass",
			events: `{"Action":"output","Package":"p","Test":"A","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Elapsed":1.25}`,
			want:  summary{passed: 1, packages: 1},
			shown: "ok   p 1.2s\n",
		},
		{
			name: "fail shows the output",
			events: `{"Action":"output","Package":"p","Test":"A","Output":"why\n"}
{"Action":"fail","Package":"p","Test":"A"}`,
			want:  summary{failed: 1},
			shown: "FAIL p A\nwhy\n",
		},
		{
			name: "skip breaks the run",
			events: `{"Action":"output","Package":"p","Test":"A","Output":"no root\n"}
{"Action":"skip","Package":"p","Test":"A"}`,
			want:  summary{skipped: 1, broken: 1},
			shown: "SKIP p A\nno root\n",
		},
		{
			name: "skip for want of captures is only named",
			events: `{"Action":"output","Package":"p","Test":"A","Output":"EBPF_TCP_PCAPS is not set\n"}
{"Action":"skip","Package":"p","Test":"A"}`,
			want:  summary{skipped: 1},
			shown: "SKIP p A\nEBPF_TCP_PCAPS is not set\n",
		},
		{
			name: "not possible here",
			events: `{"Action":"output","Package":"x/p","Test":"A/b","Output":"    a_test.go:1: not possible here: live: refused\n"}
{"Action":"skip","Package":"x/p","Test":"A/b"}`,
			want: summary{skipped: 1, impossible: map[string][]string{"live: refused": {"p: A/b"}}},
		},
		{
			name: "a test that only says so",
			events: `{"Action":"output","Package":"p","Test":"A","Output":"not possible here: I think\n"}
{"Action":"skip","Package":"p","Test":"A"}`,
			want:  summary{skipped: 1, broken: 1},
			shown: "SKIP p A\nnot possible here: I think\n",
		},
		{
			name: "package that does not build",
			events: `{"Action":"build-output","ImportPath":"p","Output":"undefined: x\n"}
{"Action":"build-fail","ImportPath":"p"}
{"Action":"fail","Package":"p","FailedBuild":"p"}`,
			want:  summary{broken: 2, packages: 1},
			shown: "undefined: x\nFAIL p\n",
		},
		{
			name:   "package without tests, and a line that is no event",
			events: "go: downloading\n" + `{"Action":"skip","Package":"p"}`,
			shown:  "go: downloading\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var shown strings.Builder
			got := newSummary(&shown)
			require.NoError(t, got.read(strings.NewReader(test.events)))
			assert.Equal(t, test.shown, shown.String())
			got.out, got.output = nil, nil
			if test.want.impossible == nil {
				test.want.impossible = map[string][]string{}
			}
			assert.Equal(t, test.want, *got)
		})
	}
}

func TestClosingLine(t *testing.T) {
	var shown strings.Builder
	s := newSummary(&shown)
	s.passed, s.skipped, s.packages = 530, 3, 4
	s.close("privileged", 61*time.Second)
	assert.Equal(t, "privileged: 530 passed, 0 failed, 3 skipped, in 4 packages and 1m1s\n", shown.String())

	shown.Reset()
	s.impossible["queue: refused"] = []string{"probe: A", "probe: B"}
	s.impossible["live: refused"] = []string{"e2e: C"}
	s.close("privileged", 61*time.Second)
	assert.Equal(t, `not possible here: live: refused
  e2e: C
not possible here: queue: refused
  probe: A
  probe: B
privileged: 530 passed, 0 failed, 3 skipped (3 not possible here), in 4 packages and 1m1s
`, shown.String())
}
