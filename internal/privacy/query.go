// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// signatures are the keys of query parameters that the conventions redact, of this and
// earlier versions, in lower case. Their names have another case, but a key of a wrong case
// is no reason to show a signature.
var signatures = [...]string{
	"sig", "signature", "awsaccesskeyid",
	"x-amz-signature", "x-amz-credential", "x-amz-security-token",
	"x-goog-signature", "x-goog-credential",
}

func isSignature(key []byte) bool {
	for _, known := range signatures {
		if request.EqualFold(key, known) {
			return true
		}
	}
	return false
}

// querySpans marks what is secret between two places of a text. Parameters end at &. Some
// servers also end them at a semicolon, so both readings are considered.
func (r *Redactor) querySpans(text []byte, from, to int, allowed bool, list *List) {
	q := query{r: r, text: text, allowed: allowed, list: list}
	for from < to {
		end := to
		if i := bytes.IndexByte(text[from:to], '&'); i >= 0 {
			end = from + i
		}
		q.parameter(from, end)
		from = end + 1
	}
}

type query struct {
	r       *Redactor
	text    []byte
	allowed bool // every key but those of signatures
	list    *List
}

// parameter marks in what is between two &.
func (q *query) parameter(from, to int) {
	equals := bytes.IndexByte(q.text[from:to], '=')
	if equals < 0 {
		q.alone(from, to)
		return
	}
	equals += from
	key := from
	if i := bytes.LastIndexAny(q.text[from:equals], separators); i >= 0 {
		// "a;b=c" is the key "a;b", or the parameter "a" and the key "b".
		q.alone(from, from+i)
		key = from + i + 1
	}
	if key == from && q.allows(q.text[key:equals]) {
		q.allowedValue(equals+1, to)
		return
	}
	q.value(key, equals, to)
}

// separators may end a parameter in the value of another, depending on who reads it.
const separators = ";?#"

// allowedValue marks what another reading of an allowed value has as further parameters.
func (q *query) allowedValue(from, to int) {
	for {
		i := bytes.IndexAny(q.text[from:to], separators)
		if i < 0 {
			return
		}
		from += i + 1
		end := to
		if i := bytes.IndexAny(q.text[from:to], separators); i >= 0 {
			end = from + i
		}
		equals := bytes.IndexByte(q.text[from:end], '=')
		switch {
		case equals < 0:
			q.alone(from, end)
		case !q.allows(q.text[from : from+equals]):
			// Without the separator it goes on to the end.
			q.value(from, from+equals, end)
		}
	}
}

// alone marks keys without a value, each of which may be the secret.
func (q *query) alone(from, to int) {
	for from < to {
		end := to
		if i := bytes.IndexAny(q.text[from:to], separators); i >= 0 {
			end = from + i
		}
		if from < end && !q.allows(q.text[from:end]) {
			q.r.spans.add(from, end)
			q.list.add("query")
		}
		from = end + 1
	}
}

// value marks the value of a key that is not allowed.
func (q *query) value(key, equals, to int) {
	name, decoded := q.r.decodeKey(q.text[key:equals])
	signs := to - equals
	if len(bytes.Trim(q.text[equals:to], "=")) == 0 && (signs > 1 || looksSecret(q.text[key:equals])) {
		// The padding of base64 is no value. The key may be the secret.
		q.r.spans.add(key, to)
		q.list.add("query")
		return
	}
	hidden := !decoded || q.r.spans.touches(key, equals)
	if len(name) > maxName {
		q.r.spans.add(key, equals)
		hidden = true
	}
	if equals+1 == to {
		return
	}
	q.r.spans.add(equals+1, to)
	if hidden {
		q.list.add("query")
	} else {
		q.list.addName(q.r, "query.", name)
	}
}

// looksSecret reports whether a key without a value may be a token.
func looksSecret(key []byte) bool {
	const short, long = 12, 32
	digits, capitals := 0, 0
	for _, c := range key {
		switch {
		case '0' <= c && c <= '9':
			digits++
		case 'A' <= c && c <= 'Z':
			capitals++
		}
	}
	return len(key) > long || len(key) > short && (digits > 0 || capitals > 1)
}

// allows reports whether the value of a key stays.
func (q *query) allows(key []byte) bool {
	name, decoded := q.r.decodeKey(key)
	if !decoded || isSignature(name) {
		return false
	}
	if q.allowed || q.r.allowAll {
		return true
	}
	_, allowed := q.r.allowQuery[string(name)]
	return allowed
}

// decodeKey returns the decoded form of a key, until the next call, and false if its
// encoding is malformed.
func (r *Redactor) decodeKey(key []byte) ([]byte, bool) {
	if bytes.IndexByte(key, '%') < 0 && bytes.IndexByte(key, '+') < 0 {
		return key, true
	}
	r.key = r.key[:0]
	for i := 0; i < len(key); i++ {
		c := key[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(key) {
				return key, false
			}
			high, low := unhex(key[i+1]), unhex(key[i+2])
			if high < 0 || low < 0 {
				return key, false
			}
			c = byte(high<<4 | low)
			i += 2
		}
		r.key = append(r.key, c)
	}
	return r.key, true
}
