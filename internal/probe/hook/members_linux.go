// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package hook

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Member is one member of a kernel struct.
type Member struct {
	// Struct is the struct's name, or the typedef's where the struct has no name.
	Struct, Name string
}

// String is the member in C's words.
func (m Member) String() string { return m.Struct + "." + m.Name }

// In reports whether types have the member, also inside an anonymous struct or union.
func (m Member) In(types *btf.Spec) bool {
	found, err := types.AnyTypesByName(m.Struct)
	if err != nil {
		return false
	}
	for _, t := range found {
		if among(membersOf(t), m.Name) {
			return true
		}
	}
	return false
}

func among(members []btf.Member, name string) bool {
	for _, m := range members {
		if m.Name == name || m.Name == "" && among(membersOf(m.Type), name) {
			return true
		}
	}
	return false
}

func membersOf(t btf.Type) []btf.Member {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		return t.Members
	case *btf.Union:
		return t.Members
	default:
		return nil
	}
}

// relocation matches how the library prints a CO-RE relocation: its kind, the indices of
// the members on the way, and the type where they begin.
var relocation = regexp.MustCompile(`^CORERelocation\((\w+), .*\[([0-9:]+)\], local_id=(\d+)\)$`)

// MembersRead lists the members that a program reads. The optional ones are those whose
// existence it checks too: without them the verifier removes the code that reads them.
func MembersRead(spec *ebpf.CollectionSpec, program string) (read, optional []Member) {
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

// walk names the members on the way from a type. It leaves out members of an anonymous
// type that is itself a named member.
func walk(types *btf.Spec, id, accessor string) []Member {
	number, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return nil
	}
	at, err := types.TypeByID(btf.TypeID(number))
	if err != nil {
		return nil
	}
	var members []Member
	owner := at.TypeName()
	// The first index belongs to the pointer itself.
	for _, text := range strings.Split(accessor, ":")[1:] {
		index, err := strconv.Atoi(text)
		if err != nil {
			return members
		}
		if name := at.TypeName(); name != "" {
			owner = name
		}
		if array, ok := btf.UnderlyingType(at).(*btf.Array); ok {
			at = array.Type
			continue
		}
		inside := membersOf(at)
		if index >= len(inside) {
			return members
		}
		if at = inside[index].Type; inside[index].Name == "" {
			continue
		}
		if owner != "" {
			members = append(members, Member{owner, inside[index].Name})
		}
		owner = ""
	}
	return members
}

// ExplainMissing names the member whose absence made the kernel refuse a program. Where none
// is missing it returns the refusal as it is.
func (o *Object) ExplainMissing(program string, refusal error) error {
	kernel, err := o.Host.kernel()
	if err != nil {
		return refusal
	}
	read, optional := MembersRead(o.Spec, program)
	for _, m := range read {
		if !slices.Contains(optional, m) && !m.In(kernel) {
			return fmt.Errorf("this kernel's %s has no member %s: %w", m.Struct, m.Name, &missingMember{refusal})
		}
	}
	return refusal
}

// missingMember hides the verifier's log, which is about the code that reads the member.
type missingMember struct{ err error }

func (*missingMember) Error() string { return "the program is refused" }

func (m *missingMember) Unwrap() error { return m.err }
