// SPDX-License-Identifier: Apache-2.0

package series

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// maxTexts is how many attributes with text a metric can have of its own.
const maxTexts = 6

// tuple are the values of a metric with several attributes of its own. Text is in the order of
// the metric's declaration, without the attribute with a number. "" and 0 are absent.
type tuple struct {
	text   [maxTexts]string
	number int64
}

// tuples keeps one pointer for each tuple, so that series are compared by pointers.
type tuples struct {
	known map[tuple]*tuple
	// last saves the look-up: the next request often differs in nothing.
	last *tuple
}

// intern returns the one pointer of a tuple. It makes one if fewer than limit are known, else it
// returns nil.
func (t *tuples) intern(values *tuple, limit int) *tuple {
	if t.last != nil && *t.last == *values {
		return t.last
	}
	known, ok := t.known[*values]
	if !ok {
		if len(t.known) >= limit {
			return nil
		}
		known = new(tuple)
		*known = *values
		t.known[*values] = known
	}
	t.last = known
	return known
}

// tidy forgets tuples that no series has.
func (t *tuples) tidy(used map[*tuple]bool) {
	t.last = nil
	for values, pointer := range t.known {
		if !used[pointer] {
			delete(t.known, values)
		}
	}
}

// ownAttributes are the attributes that only one metric, or few others, have: those of
// dims.detail, or those of a tuple.
type ownAttributes struct {
	detail string
	texts  []string
	number string
}

// ownOf returns the attributes of a metric that are neither of the attributeSet nor the
// direction.
func ownOf(m declared.Metric) ownAttributes {
	var own ownAttributes
	for _, a := range m.Definition().Attributes {
		switch {
		case !isOwn(a):
		case isNumber(a):
			own.number = a.Key()
		default:
			own.texts = append(own.texts, a.Key())
		}
	}
	if len(own.texts) > 0 {
		own.detail = own.texts[0]
	}
	return own
}

// isNumber reports whether the values of an attribute are numbers.
func isNumber(a declared.Attribute) bool { return a == declared.AttrHTTPResponseStatusCode }

func (d *dims) put(to pcommon.Map, own *ownAttributes) {
	if d.direction != "" {
		to.PutStr(declared.AttrNetworkIODirection.Key(), d.direction)
	}
	if d.detail != "" {
		to.PutStr(own.detail, d.detail)
	}
	if d.more == nil {
		return
	}
	for i, key := range own.texts {
		if text := d.more.text[i]; text != "" {
			to.PutStr(key, text)
		}
	}
	if d.more.number != 0 {
		to.PutInt(own.number, d.more.number)
	}
}
