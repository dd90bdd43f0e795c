// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
)

// diagnosed has the outcome of every hook: "" where it attached.
func diagnosed(t *testing.T, cfg Config) map[string]string {
	t.Helper()
	enterNetNS(t)
	cfg.TCMode, cfg.IncludeInterfaces = TCAuto, []string{"lo"}
	d, err := Diagnose(cfg)
	require.NoError(t, err)
	outcome := make(map[string]string)
	for _, f := range d.Features {
		for _, w := range f.Ways {
			for _, each := range w.Hooks {
				outcome[each] = w.Error
			}
		}
	}
	return outcome
}

// TestKnownHooks compares the names that hooks::exclude accepts with those that are tried.
func TestKnownHooks(t *testing.T) {
	var tried []string
	for each := range diagnosed(t, testConfig()) {
		tried = append(tried, each)
	}
	// Drops can be impossible here. No way to them is tried then.
	if !slices.Contains(tried, "raw_tp/kfree_skb") {
		tried = append(tried, "raw_tp/kfree_skb")
	}
	assert.ElementsMatch(t, hook.Known(), tried)
	assert.True(t, slices.IsSorted(hook.Known()))
}

// TestExcludedHooksAreRefused leaves every hook out, and then those of one kind.
func TestExcludedHooksAreRefused(t *testing.T) {
	for _, pattern := range []string{"*/*", "iter/*", "tcx/*", "setns"} {
		t.Run(pattern, func(t *testing.T) {
			left := diagnosed(t, testConfig())
			for each, err := range diagnosed(t, testConfig(func(c *Config) { c.ExcludeHooks = append(c.ExcludeHooks, pattern) })) {
				if (hook.Patterns{pattern}).Match(each) {
					assert.Contains(t, err, "excluded by hooks::exclude", each)
				} else if each != "tcx/ingress" && !strings.Contains(each, "sys_exit_accept") {
					assert.Equal(t, left[each] == "", err == "", "%s: %s", each, err)
				}
			}
		})
	}
}

// TestWithoutHooks: the probe does not start, and says why.
func TestWithoutHooks(t *testing.T) {
	enterNetNS(t)
	p, err := New(testConfig(func(c *Config) { c.ExcludeHooks = []string{"*/*", "tracepoint/*/*"} }), zaptest.NewLogger(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	err = p.Start(&recorder{overflows: make(map[uint64]uint64)})
	assert.ErrorContains(t, err, "excluded by hooks::exclude")
	assert.True(t, errors.Is(err, hook.ErrExcluded))
}

// TestExcludedTCXIsClsact: packets are counted by the next way, in both directions, even if
// only one of them is excluded.
func TestExcludedTCXIsClsact(t *testing.T) {
	for _, pattern := range []string{"tcx/*", "tcx/ingress", "tcx/egress"} {
		t.Run(pattern, func(t *testing.T) {
			enterNetNS(t)
			k := startAny(t, testConfig(func(c *Config) {
				c.TCMode, c.IncludeInterfaces, c.ExcludeHooks = TCAuto, []string{"lo"}, []string{pattern}
			}))
			var packets []string
			for _, state := range k.probe.Hooks() {
				if state.Feature == hook.FeaturePacket {
					assert.NoError(t, state.Err)
					assert.True(t, state.Attached)
					packets = append(packets, state.Name)
				}
			}
			assert.Equal(t, []string{"clsact/ingress", "clsact/egress"}, packets)
		})
	}
}
