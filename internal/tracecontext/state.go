// SPDX-License-Identifier: Apache-2.0

package tracecontext

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// Bounds of tracestate.
const (
	maxMembers = 32
	maxKey     = 256
	maxValue   = 256
)

// joined is the tracestate of all fields. It only uses buffer if there are several.
func joined(fields []request.Field, buffer []byte) []byte {
	var state []byte
	several := false
	for i := range fields {
		if !request.EqualFold(fields[i].Name, "tracestate") || len(fields[i].Value) == 0 {
			continue
		}
		if state == nil {
			state = fields[i].Value
			continue
		}
		if !several {
			several = true
			state = append(buffer[:0], state...)
		}
		state = append(append(state, ','), fields[i].Value...)
	}
	return state
}

// validState reports whether s is a list of at most 32 members with different keys.
func validState(s []byte) bool {
	var keys [maxMembers][]byte
	n := 0
	for len(s) > 0 {
		var member []byte
		member, s, _ = bytes.Cut(s, []byte{','})
		member = bytes.Trim(member, " \t")
		if len(member) == 0 {
			continue // Empty members are permitted.
		}
		key, value, found := bytes.Cut(member, []byte{'='})
		if !found || n == maxMembers || !validKey(key) || !validValue(value) {
			return false
		}
		for _, other := range keys[:n] {
			if bytes.Equal(other, key) {
				return false
			}
		}
		keys[n] = key
		n++
	}
	return true
}

// validKey accepts keys of both levels: level 1 permits an @ once, level 2 anywhere but first.
func validKey(key []byte) bool {
	if len(key) == 0 || len(key) > maxKey {
		return false
	}
	for i, c := range key {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '_' || c == '-' || c == '*' || c == '/' || c == '@'):
		default:
			return false
		}
	}
	return true
}

// validValue accepts printable ASCII without comma and equals sign.
func validValue(value []byte) bool {
	if len(value) == 0 || len(value) > maxValue {
		return false
	}
	for _, c := range value {
		if c < ' ' || c > '~' || c == ',' || c == '=' {
			return false
		}
	}
	return true
}
