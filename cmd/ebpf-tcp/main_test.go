// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/control"
)

func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	server, err := control.Listen(path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- server.Serve(ctx, func(q control.Question) control.Answer {
			if q.Command == "list" {
				return control.Answer{Lines: []string{"one", "two"}}
			}
			return control.Answer{Error: "no " + q.Command}
		})
	}()
	var out, errs bytes.Buffer
	for _, of := range []struct {
		args      []string
		code      int
		out, errs string
	}{
		{nil, 2, "", usage + "\n"},
		{[]string{"x"}, 2, "", "ebpf-tcp: there is no command \"x\"\n" + usage + "\n"},
		{[]string{"help"}, 0, usage + "\n", ""},
		{[]string{"guard"}, 2, "", guardUsage + "\n"},
		{[]string{"watch", "x"}, 2, "", "ebpf-tcp watch: unexpected argument \"x\"\n"},
		{[]string{"watch", "-process", "["}, 2, "", "ebpf-tcp watch: -process: syntax error in pattern\n"},
		{[]string{"top", "-for", "0s"}, 2, "", "ebpf-tcp top: -for: must be above 0\n"},
		{[]string{"guard", "-socket", path, "list"}, 0, "one\ntwo\n", ""},
		{[]string{"guard", "-socket", path, "why", "x"}, 1, "", "guard: no why\n"},
	} {
		out.Reset()
		errs.Reset()
		assert.Equal(t, of.code, run(t.Context(), of.args, &out, &errs), "%v", of.args)
		assert.Equal(t, of.out, out.String())
		assert.Equal(t, of.errs, errs.String())
	}
	assert.Equal(t, 1, run(t.Context(), []string{"guard", "-socket", path + "x", "list"}, &out, &errs))
	cancel()
	require.NoError(t, <-done)
}
