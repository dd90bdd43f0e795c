// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
)

func TestMendable(t *testing.T) {
	kernel := errors.New("this kernel has no BTF")
	left := LeftOut("attribution::accept_tracepoint is off")
	assert.False(t, capability.Mendable(nil))
	assert.False(t, capability.Mendable(kernel))
	assert.True(t, capability.Mendable(left))
	assert.True(t, capability.Mendable(fmt.Errorf("attach: %w", left)))
	assert.True(t, capability.Mendable(Refusals{kernel, &Error{"attach", "kprobe/a", left}}), "one of several ways")
	assert.False(t, capability.Mendable(errors.Join(kernel, kernel)))
}

func TestUnsupported(t *testing.T) {
	assert.True(t, Unsupported(fmt.Errorf("create the maps: %w", ebpf.ErrNotSupported)))
	assert.True(t, Unsupported(fmt.Errorf("create the maps: %w", errors.ErrUnsupported)))
	assert.False(t, Unsupported(errors.New("no space")))
	assert.False(t, Unsupported(errors.Join(ebpf.ErrNotSupported, LeftOut("switched off"))))
}

// TestReason: hooks of one kind that are refused for one reason have one cause.
func TestReason(t *testing.T) {
	refused := func(hook string) error { return &Error{"load", hook, errors.New("CAP_PERFMON is missing")} }
	assert.Equal(t, "fentry: CAP_PERFMON is missing", Reason(refused("fentry/a")))
	ways := func(name string) error {
		return Refusals{refused("fentry/" + name), errors.Join(&Error{"attach", "kprobe/" + name, errors.New("no kprobes")}, nil)}
	}
	assert.Equal(t, "fentry: CAP_PERFMON is missing; kprobe: no kprobes", Reason(ways("a")))
	assert.Equal(t, Reason(ways("a")), Reason(ways("b")))
	assert.Equal(t, "load fentry/a: CAP_PERFMON is missing; attach kprobe/a: no kprobes", ways("a").Error())
}
