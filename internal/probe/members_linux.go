// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// member is one member of a kernel struct that a program reads.
type member struct {
	// owner is the struct's name, or that of the typedef of one without a name.
	owner, name string
}

func (m member) String() string { return m.owner + "." + m.name }

// relocation is how the library writes a CO-RE relocation: its kind, the indices of the
// members on the way, and the type that they begin at.
var relocation = regexp.MustCompile(`^CORERelocation\((\w+), .*\[([0-9:]+)\], local_id=(\d+)\)$`)

// membersOf lists the members that a program reads. Those whose existence it asks for as
// well are optional: without them the verifier leaves out what reads them.
func membersOf(spec *ebpf.CollectionSpec, program string) (read, optional []member) {
	for i := range spec.Programs[program].Instructions {
		found := btf.CORERelocationMetadata(&spec.Programs[program].Instructions[i])
		if found == nil {
			continue
		}
		parts := relocation.FindStringSubmatch(found.String())
		if parts == nil {
			continue
		}
		switch parts[1] {
		case "byte_off":
			read = append(read, walk(spec.Types, parts[3], parts[2])...)
		case "field_exists":
			optional = append(optional, walk(spec.Types, parts[3], parts[2])...)
		}
	}
	return read, optional
}

// walk names the members on the way from a type, but for those of a type without a name
// that is itself a member with one.
func walk(types *btf.Spec, id, accessor string) []member {
	number, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return nil
	}
	at, err := types.TypeByID(btf.TypeID(number))
	if err != nil {
		return nil
	}
	var members []member
	owner := at.TypeName()
	// The first index is that of a pointer, which stays where it is.
	for _, text := range strings.Split(accessor, ":")[1:] {
		index, err := strconv.Atoi(text)
		if err != nil {
			return members
		}
		if name := at.TypeName(); name != "" {
			owner = name
		}
		var inside []btf.Member
		switch t := btf.UnderlyingType(at).(type) {
		case *btf.Struct:
			inside = t.Members
		case *btf.Union:
			inside = t.Members
		case *btf.Array:
			at = t.Type
			continue
		}
		if index >= len(inside) {
			return members
		}
		if at = inside[index].Type; inside[index].Name == "" {
			continue
		}
		if owner != "" {
			members = append(members, member{owner, inside[index].Name})
		}
		owner = ""
	}
	return members
}

// explainMissing says which members a program that was refused has no use without.
func (o *object) explainMissing(program string, refusal error) error {
	kernel, err := o.kernelBTF()
	if err != nil {
		return refusal
	}
	read, optional := membersOf(o.spec, program)
	for _, m := range read {
		if !slices.Contains(optional, m) && !hasMember(kernel, m.owner, m.name) {
			return fmt.Errorf("this kernel's %s has no member %s: %w", m.owner, m.name, &missingMember{refusal})
		}
	}
	return refusal
}

// missingMember hides what the verifier said of the code that reads it.
type missingMember struct{ err error }

func (*missingMember) Error() string { return "the program is refused" }

func (m *missingMember) Unwrap() error { return m.err }

// kernelBTF is the running kernel's, or what stands in for it.
func (o *object) kernelBTF() (*btf.Spec, error) {
	if o.kernelTypes != nil {
		return o.kernelTypes, nil
	}
	return o.types.Kernel()
}
