// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"bytes"
	"strconv"
)

// putNumber gives the builder a number of JSON: an integer of 64 bits, or a double whose
// shortest decimal form has the same value, or else the exact text. It returns false for
// the text.
func putNumber(b Builder, text []byte) bool {
	if !bytes.ContainsAny(text, ".eE") && string(text) != "-0" {
		i, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			b.String(text)
			return false
		}
		b.Int(i)
		return true
	}
	f, err := strconv.ParseFloat(string(text), 64)
	var buffer [32]byte
	if err != nil || !sameDecimal(text, strconv.AppendFloat(buffer[:0], f, 'e', -1, 64)) {
		b.String(text)
		return false
	}
	b.Double(f)
	return true
}

// sameDecimal reports whether two numbers in decimal have the same value and sign. It may
// miss that they do if an exponent is beyond all sense.
func sameDecimal(a, b []byte) bool {
	var x, y decimal
	return x.parse(a) && y.parse(b) && x.equal(&y)
}

// decimal is a number 0.digits × 10^exponent, whose first and last digits are not 0.
type decimal struct {
	negative bool
	// whole and fraction are the digits before and after the point, less zeros at the
	// number's ends.
	whole, fraction []byte
	exponent        int
}

func (d *decimal) parse(text []byte) bool {
	text, d.negative = bytes.CutPrefix(text, []byte{'-'})
	if e := bytes.IndexAny(text, "eE"); e >= 0 {
		// The longest exponents that a float64 can have with bounded digits.
		exponent, err := strconv.ParseInt(string(text[e+1:]), 10, 32)
		if err != nil {
			return false
		}
		d.exponent, text = int(exponent), text[:e]
	}
	d.whole, d.fraction, _ = bytes.Cut(text, []byte{'.'})
	d.whole = bytes.TrimLeft(d.whole, "0")
	d.exponent += len(d.whole)
	d.fraction = bytes.TrimRight(d.fraction, "0")
	if len(d.whole) == 0 {
		n := len(d.fraction)
		d.fraction = bytes.TrimLeft(d.fraction, "0")
		d.exponent -= n - len(d.fraction)
	}
	if len(d.fraction) == 0 {
		d.whole = bytes.TrimRight(d.whole, "0")
	}
	if d.digits() == 0 {
		d.exponent = 0
	}
	return true
}

func (d *decimal) digits() int { return len(d.whole) + len(d.fraction) }

func (d *decimal) digit(i int) byte {
	if i < len(d.whole) {
		return d.whole[i]
	}
	return d.fraction[i-len(d.whole)]
}

func (d *decimal) equal(o *decimal) bool {
	if d.negative != o.negative || d.exponent != o.exponent || d.digits() != o.digits() {
		return false
	}
	for i := range d.digits() {
		if d.digit(i) != o.digit(i) {
			return false
		}
	}
	return true
}
