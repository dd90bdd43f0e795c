// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/receiver"
)

func TestRead(t *testing.T) {
	t.Setenv("EBPF_TCP_TEST_CONNECTIONS", "4096")
	tests := []struct {
		name, receivers, id, err string
		connections              int
	}{
		{"one", "{ebpf_tcp: {limits: {connections: 2048}}, otlp: }", "", "", 2048},
		{"by environment", "{ebpf_tcp: {limits: {connections: '${env:EBPF_TCP_TEST_CONNECTIONS}'}}}", "", "", 4096},
		{"defaults", "{ebpf_tcp: }", "", "", 0},
		{"chosen", "{ebpf_tcp: , ebpf_tcp/2: {limits: {connections: 1024}}}", "ebpf_tcp/2", "", 1024},
		{"several", "{ebpf_tcp: , ebpf_tcp/2: }", "", "choose one with --receiver", 0},
		{"none", "{otlp: }", "", "there is no receiver of type ebpf_tcp", 0},
		{"another", "{ebpf_tcp: }", "ebpf_tcp/3", "there is no receiver ebpf_tcp/3", 0},
		{"unknown key", "{ebpf_tcp: {limit: 3}}", "", "receivers::ebpf_tcp", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "collector.yaml")
			require.NoError(t, os.WriteFile(file, []byte("receivers: "+test.receivers+"\n"), 0o600))
			cfg := receiver.NewFactory().CreateDefaultConfig().(*receiver.Config)
			err := read(t.Context(), file, test.id, cfg)
			if test.err != "" {
				assert.ErrorContains(t, err, test.err)
				assert.ErrorContains(t, err, file)
				return
			}
			require.NoError(t, err)
			assert.EqualValues(t, test.connections, cfg.Limits.Connections)
		})
	}
}

func TestArguments(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), []string{"what"}, io.Discard, io.Discard), `unexpected argument "what"`)
	require.Error(t, run(t.Context(), []string{"--what"}, io.Discard, io.Discard))
	require.ErrorContains(t, run(t.Context(), []string{"--config", "/nowhere"}, io.Discard, io.Discard), "read /nowhere")
}
