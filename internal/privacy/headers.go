// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// Bounds of the fields of one message.
const (
	maxHeaders    = 32
	maxValues     = 16
	maxValueSize  = 1 << 10
	maxHeaderSize = 16 << 10
)

// Headers is an allow-list of header fields. It is not safe for concurrent use.
type Headers struct {
	attribute string
	exact     map[string]string // from the name in lower case to the attribute
	prefixes  []string
	learned   map[string]string // like exact, for names that match a prefix

	selected []Header
	buffer   []byte
}

// Header is an attribute such as http.request.header.x-request-id, with the values of all
// fields of that name.
type Header struct {
	Key    string
	Values [][]byte
}

// NewHeaders compiles names of fields, of any case. A final * stands for any end of a name.
// attribute is what the attributes' names begin with, such as http.request.header.
func NewHeaders(attribute string, names []string) (*Headers, error) {
	h := &Headers{
		attribute: strings.TrimSuffix(attribute, ".") + ".",
		exact:     make(map[string]string),
		learned:   make(map[string]string),
	}
	var errs []error
	for i, name := range names {
		lower := strings.ToLower(name)
		prefix, wild := strings.CutSuffix(lower, "*")
		switch {
		case strings.Contains(prefix, "*"):
			errs = append(errs, fmt.Errorf("entry %d, %q: a * is only possible at the end", i, name))
		case !isToken(prefix) && !(wild && prefix == ""):
			errs = append(errs, fmt.Errorf("entry %d, %q, is no name of a header field", i, name))
		case wild:
			h.prefixes = append(h.prefixes, prefix)
		default:
			if _, twice := h.exact[lower]; twice {
				errs = append(errs, fmt.Errorf("entry %d, %q, is there twice", i, name))
			}
			h.exact[lower] = h.attribute + lower
		}
	}
	return h, errors.Join(errs...)
}

// Empty reports whether nothing is allowed.
func (h *Headers) Empty() bool { return len(h.exact)+len(h.prefixes) == 0 }

// Select returns the allowed fields with redacted values, and the number of allowed values
// that did not fit. Long values are cut after redaction, because a pattern must see all of a
// secret. The result is valid until the next call.
func (h *Headers) Select(fields []request.Field, r *Redactor, list *List) (selected []Header, left int) {
	h.selected, h.buffer = h.selected[:0], h.buffer[:0]
	if h.Empty() {
		return nil, 0
	}
	for i := range fields {
		key := h.key(fields[i].Name)
		if key == "" {
			continue
		}
		header := h.header(key)
		if header == nil || len(header.Values) == maxValues || len(h.buffer) > maxHeaderSize {
			left++
			continue
		}
		from := len(h.buffer)
		h.buffer = r.Header(h.buffer, fields[i].Name, fields[i].Value, list)
		if len(h.buffer)-from > maxValueSize {
			h.buffer = h.buffer[:from+maxValueSize]
		}
		header.Values = append(header.Values, h.buffer[from:len(h.buffer):len(h.buffer)])
	}
	// A header that got no value is the last one, because the buffer was full.
	for n := len(h.selected); n > 0 && len(h.selected[n-1].Values) == 0; n-- {
		h.selected = h.selected[:n-1]
	}
	return h.selected, left
}

// key is the attribute of a field; "" if the field is not allowed.
func (h *Headers) key(name []byte) string {
	if len(name) > maxName {
		return ""
	}
	var buffer [maxName]byte
	lower := toLower(buffer[:0], name)
	if key, found := h.exact[string(lower)]; found {
		return key
	}
	for _, prefix := range h.prefixes {
		if len(lower) >= len(prefix) && string(lower[:len(prefix)]) == prefix && isToken(lower) {
			return h.learn(lower)
		}
	}
	return ""
}

// learn keeps the attributes of a bounded number of names.
func (h *Headers) learn(lower []byte) string {
	key, found := h.learned[string(lower)]
	if !found {
		key = h.attribute + string(lower)
		if len(h.learned) < maxInterned {
			h.learned[string(lower)] = key
		}
	}
	return key
}

// header is the attribute's place in the result; nil if there is none left.
func (h *Headers) header(key string) *Header {
	for i := range h.selected {
		if h.selected[i].Key == key {
			return &h.selected[i]
		}
	}
	if len(h.selected) == maxHeaders {
		return nil
	}
	if n := len(h.selected); n < cap(h.selected) {
		h.selected = h.selected[:n+1] // with the memory of its earlier values
		h.selected[n].Key, h.selected[n].Values = key, h.selected[n].Values[:0]
	} else {
		h.selected = append(h.selected, Header{Key: key})
	}
	return &h.selected[len(h.selected)-1]
}
