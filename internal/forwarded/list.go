// SPDX-License-Identifier: Apache-2.0

package forwarded

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// list is the comma-separated list of all fields of a name, in their order.
type list struct {
	fields []request.Field
	name   string
}

// backward reads a list from its right end, without empty elements.
func (l list) backward() backward { return backward{list: l, field: len(l.fields)} }

type backward struct {
	list
	field int
	rest  []byte
}

func (b *backward) next() ([]byte, bool) {
	for {
		for len(b.rest) == 0 {
			if b.field--; b.field < 0 {
				return nil, false
			}
			if request.EqualFold(b.fields[b.field].Name, b.name) {
				b.rest = b.fields[b.field].Value
			}
		}
		var element []byte
		b.rest, element = cutLast(b.rest)
		if element = bytes.Trim(element, " \t"); len(element) > 0 {
			return element, true
		}
	}
}

// cutLast cuts a list before its last element. A comma within quotes does not separate.
func cutLast(s []byte) (rest, element []byte) {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch s[i] {
		case '"':
			// A quotation mark within quotes has a backslash before it.
			if !quoted || i == 0 || s[i-1] != '\\' {
				quoted = !quoted
			}
		case ',':
			if !quoted {
				return s[:i], s[i+1:]
			}
		}
	}
	return nil, s
}

// single is the value of the first field of a name, and whether there are several.
func single(fields []request.Field, name string) (value []byte, several bool) {
	found := false
	for i := range fields {
		if request.EqualFold(fields[i].Name, name) {
			if found {
				return value, true
			}
			found, value = true, bytes.Trim(fields[i].Value, " \t")
		}
	}
	return value, false
}
