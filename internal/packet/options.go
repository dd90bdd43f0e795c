// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"encoding/binary"
	"encoding/hex"
	"iter"
	"strconv"
)

// Kinds of TCP options that have a name here.
const (
	optionEnd           = 0
	optionNop           = 1
	optionMSS           = 2
	optionWindowScale   = 3
	optionSACKPermitted = 4
	optionSACK          = 5
	optionTimestamps    = 8
	optionMD5           = 19
	optionAO            = 29
	optionMPTCP         = 30
	optionFastOpen      = 34
)

// Option is one TCP option.
type Option struct {
	Kind uint8
	// Data follows kind and length. It shares memory with the raw options.
	Data []byte
	// Lying is set if the length is below 2 or exceeds the header. Data is then the
	// rest of the header, and no option follows.
	Lying bool
}

// Options yields raw options in wire order. The end-of-list option is the last; padding
// follows it.
func Options(raw []byte) iter.Seq[Option] {
	return func(yield func(Option) bool) {
		for len(raw) > 0 {
			option, length := first(raw)
			if !yield(option) || option.Lying || option.Kind == optionEnd {
				return
			}
			raw = raw[length:]
		}
	}
}

// first cuts the first option off raw, which is not empty.
func first(raw []byte) (option Option, length int) {
	kind := raw[0]
	if kind == optionEnd || kind == optionNop {
		return Option{Kind: kind}, 1
	}
	if len(raw) < 2 || raw[1] < 2 || int(raw[1]) > len(raw) {
		return Option{Kind: kind, Data: raw[1:], Lying: true}, len(raw)
	}
	length = int(raw[1])
	return Option{Kind: kind, Data: raw[2:length]}, length
}

// AppendText writes the option as name or name=value: mss=1460, sackOK, ts=1,2, ws=7,
// sack=1-2,3-4. An option without a name, or with a wrong length for its kind, has its
// number and its data in hexadecimal: 99=0a0b. A lying length adds an exclamation mark.
func (o Option) AppendText(b []byte) []byte {
	if o.Lying {
		return append(o.appendRaw(b), '!')
	}
	switch {
	case o.Kind == optionEnd:
		return append(b, "eol"...)
	case o.Kind == optionNop:
		return append(b, "nop"...)
	case o.Kind == optionMSS && len(o.Data) == 2:
		return strconv.AppendUint(append(b, "mss="...), uint64(binary.BigEndian.Uint16(o.Data)), 10)
	case o.Kind == optionWindowScale && len(o.Data) == 1:
		return strconv.AppendUint(append(b, "ws="...), uint64(o.Data[0]), 10)
	case o.Kind == optionSACKPermitted && len(o.Data) == 0:
		return append(b, "sackOK"...)
	case o.Kind == optionSACK && len(o.Data) > 0 && len(o.Data)%8 == 0:
		return appendPairs(append(b, "sack="...), o.Data, '-')
	case o.Kind == optionTimestamps && len(o.Data) == 8:
		return appendPairs(append(b, "ts="...), o.Data, ',')
	case o.Kind == optionMD5:
		return appendHex(append(b, "md5"...), o.Data)
	case o.Kind == optionAO:
		return appendHex(append(b, "ao"...), o.Data)
	case o.Kind == optionMPTCP:
		return appendHex(append(b, "mptcp"...), o.Data)
	case o.Kind == optionFastOpen:
		return appendHex(append(b, "fastopen"...), o.Data)
	default:
		return o.appendRaw(b)
	}
}

func (o Option) appendRaw(b []byte) []byte {
	return appendHex(strconv.AppendUint(b, uint64(o.Kind), 10), o.Data)
}

func appendHex(b, data []byte) []byte {
	if len(data) == 0 {
		return b
	}
	return hex.AppendEncode(append(b, '='), data)
}

// appendPairs writes pairs of 32-bit numbers, separated by commas.
func appendPairs(b, data []byte, within byte) []byte {
	for i := 0; i+8 <= len(data); i += 8 {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(binary.BigEndian.Uint32(data[i:])), 10)
		b = strconv.AppendUint(append(b, within), uint64(binary.BigEndian.Uint32(data[i+4:])), 10)
	}
	return b
}
