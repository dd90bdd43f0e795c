// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
	"github.com/ebpftcp/ebpftcpreceiver/receiver"
)

// diagnoseHost is the doctor's diagnosis of this host, made once for all tests.
var diagnoseHost = sync.OnceValues(func() (d *probe.Diagnosis, err error) {
	cfg := receiver.NewFactory().CreateDefaultConfig().(*receiver.Config)
	cfg.Interfaces.Include, cfg.Interfaces.Exclude = []string{"lo"}, nil
	cfg.Hooks.Exclude = testbed.ExcludedHooks()
	err = testbed.InNewNetNS(func() (err error) {
		d, err = receiver.Diagnose(cfg)
		return err
	})
	return d, err
})

// needing ends the test as not possible here if the host lacks one of the features, such as
// "live" or "packet by tcx/*".
func needing(t *testing.T, features ...string) {
	t.Helper()
	d, err := diagnoseHost()
	require.NoError(t, err, "diagnose this host")
	testbed.Need(t, d, append([]string{"connection", "missed_end"}, features...)...)
}

// excludedHooks is the line of the receiver's configuration, indented by four, that excludes
// the hooks of the environment and more. It is empty if there are none.
func excludedHooks(more ...string) string {
	hooks := append(testbed.ExcludedHooks(), more...)
	if len(hooks) == 0 {
		return ""
	}
	for i, hook := range hooks {
		hooks[i] = strconv.Quote(hook)
	}
	return "    hooks: {exclude: [" + strings.Join(hooks, ", ") + "]}\n"
}
