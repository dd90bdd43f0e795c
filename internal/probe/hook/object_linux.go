// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package hook

import (
	"github.com/cilium/ebpf"
)

// Object is one compiled file of bpf/, whose programs are loaded one by one.
type Object struct {
	Host *Host
	Spec *ebpf.CollectionSpec
	// Maps are those that the programs get instead of their own.
	Maps map[string]*ebpf.Map
}

// Load loads one program on its own. A program that a kernel refuses thus takes no other
// with it.
func (o *Object) Load(name string, configure ...func(*ebpf.ProgramSpec)) (*ebpf.Program, error) {
	spec := o.Spec.Copy()
	for other := range spec.Programs {
		if other != name {
			delete(spec.Programs, other)
		}
	}
	for _, change := range configure {
		change(spec.Programs[name])
	}
	collection, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: o.Maps,
		Cache:           o.Host.cache,
		Programs:        ebpf.ProgramOptions{KernelTypes: o.Host.types},
	})
	if err != nil {
		return nil, err
	}
	defer collection.Close()
	return collection.DetachProgram(name), nil
}
