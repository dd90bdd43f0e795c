// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package hooktest describes kernels that a test does not run on.
package hooktest

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
)

// KernelWithout is the running kernel's BTF with members renamed. Programs are loaded as if
// the kernel had these types.
func KernelWithout(t testing.TB, members ...hook.Member) *btf.Spec {
	t.Helper()
	kernel, err := btf.LoadKernelSpec()
	require.NoError(t, err)
	spec := kernel.Copy()
	for _, m := range members {
		types, err := spec.AnyTypesByName(m.Struct)
		if errors.Is(err, btf.ErrNotFound) {
			continue // this kernel is without the whole struct
		}
		require.NoError(t, err, m.Struct)
		for _, found := range types {
			switch s := btf.UnderlyingType(found).(type) {
			case *btf.Struct:
				rename(s.Members, m.Name)
			case *btf.Union:
				rename(s.Members, m.Name)
			}
		}
		assert.False(t, m.In(spec), "%s is still there", m)
	}
	return spec
}

func rename(members []btf.Member, name string) {
	for i := range members {
		switch {
		case members[i].Name == name:
			members[i].Name = "renamed"
		case members[i].Name == "":
			switch inner := btf.UnderlyingType(members[i].Type).(type) {
			case *btf.Struct:
				rename(inner.Members, name)
			case *btf.Union:
				rename(inner.Members, name)
			}
		}
	}
}
