// SPDX-License-Identifier: Apache-2.0

package tls

import (
	"crypto/fips140"
	"crypto/md5" // JA3 is an MD5. It protects nothing
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// Sizes of fingerprints, as text.
const (
	JA3Size = 2 * md5.Size
	JA4Size = 36
)

const (
	// maxCount is the highest count that JA4 has digits for.
	maxCount = 99
	hashed   = 12
	noHash   = "000000000000"
)

// Fingerprints computes JA3 and JA4. The zero value is ready. It keeps its buffers, and is
// for one goroutine.
type Fingerprints struct {
	text       []byte
	ciphers    []uint16
	extensions []uint16
}

// AppendJA3 appends the JA3 of a hello. It appends nothing where FIPS 140-3 forbids MD5.
func (f *Fingerprints) AppendJA3(to []byte, h *Hello) []byte {
	if fips140.Enforced() {
		return to
	}
	text := strconv.AppendUint(f.text[:0], uint64(h.Version), 10)
	text = appendDecimals(append(text, ','), h.Ciphers)
	text = append(text, ',')
	first := true
	for kind := range h.kinds {
		text = appendDecimal(text, kind, &first)
	}
	text = appendDecimals(append(text, ','), h.Groups)
	text = append(text, ',')
	for i, point := range h.Points {
		if i > 0 {
			text = append(text, '-')
		}
		text = strconv.AppendUint(text, uint64(point), 10)
	}
	f.text = text
	sum := md5.Sum(text)
	return hex.AppendEncode(to, sum[:])
}

// AppendJA4 appends the JA4 of a hello, by FoxIO's description of it.
func (f *Fingerprints) AppendJA4(to []byte, h *Hello) []byte {
	f.ciphers, f.extensions = f.ciphers[:0], f.extensions[:0]
	for cipher := range pairs(h.Ciphers) {
		if !IsGREASE(cipher) {
			f.ciphers = append(f.ciphers, cipher)
		}
	}
	count := 0
	for kind := range h.kinds {
		count++
		if kind != extensionName && kind != extensionProtocols {
			f.extensions = append(f.extensions, kind)
		}
	}
	to = append(to, 't')
	to = append(to, versionDigits(h.Highest())...)
	if h.Named {
		to = append(to, 'd')
	} else {
		to = append(to, 'i')
	}
	to = appendCount(to, len(f.ciphers))
	to = appendCount(to, count)
	to = append(h.appendFirstProtocol(to), '_')

	slices.Sort(f.ciphers)
	f.text = appendHexadecimals(f.text[:0], f.ciphers)
	to = append(appendHash(to, f.text), '_')

	slices.Sort(f.extensions)
	f.text = appendHexadecimals(f.text[:0], f.extensions)
	if len(f.text) == 0 {
		return append(to, noHash...)
	}
	separator := byte('_')
	for signature := range pairs(h.Signatures) {
		if !IsGREASE(signature) {
			f.text = appendHexadecimal(append(f.text, separator), signature)
			separator = ','
		}
	}
	return appendHash(to, f.text)
}

// kinds yields the types of all extensions, without those that mean nothing.
func (h *Hello) kinds(yield func(kind uint16) bool) {
	for c := (cursor{rest: h.Extensions}); len(c.rest) > 0; {
		kind := c.uint16()
		c.long()
		if c.bad || !IsGREASE(kind) && !yield(kind) {
			return
		}
	}
}

// appendFirstProtocol appends the first and the last character of the first name that ALPN
// offers, or of its hexadecimal form.
func (h *Hello) appendFirstProtocol(to []byte) []byte {
	for name := range h.Protocol {
		first, last := name[0], name[len(name)-1]
		if isAlphanumeric(first) && isAlphanumeric(last) {
			return append(to, first, last)
		}
		const digits = "0123456789abcdef"
		return append(to, digits[first>>4], digits[last&0xf])
	}
	return append(to, "00"...)
}

func isAlphanumeric(b byte) bool {
	return '0' <= b && b <= '9' || 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z'
}

// versionDigits is a version in JA4.
func versionDigits(version uint16) string {
	switch version {
	case Version13:
		return "13"
	case Version12:
		return "12"
	case Version12 - 1:
		return "11"
	case Version10:
		return "10"
	case VersionSSL3:
		return "s3"
	default:
		return "00"
	}
}

func appendCount(to []byte, n int) []byte {
	n = min(n, maxCount)
	return append(to, '0'+byte(n/10), '0'+byte(n%10))
}

func appendDecimals(to, list []byte) []byte {
	first := true
	for v := range pairs(list) {
		if !IsGREASE(v) {
			to = appendDecimal(to, v, &first)
		}
	}
	return to
}

func appendDecimal(to []byte, v uint16, first *bool) []byte {
	if !*first {
		to = append(to, '-')
	}
	*first = false
	return strconv.AppendUint(to, uint64(v), 10)
}

func appendHexadecimals(to []byte, list []uint16) []byte {
	for i, v := range list {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendHexadecimal(to, v)
	}
	return to
}

func appendHexadecimal(to []byte, v uint16) []byte {
	both := [2]byte{byte(v >> 8), byte(v)}
	return hex.AppendEncode(to, both[:])
}

func appendHash(to, text []byte) []byte {
	if len(text) == 0 {
		return append(to, noHash...)
	}
	sum := sha256.Sum256(text)
	return hex.AppendEncode(to, sum[:hashed/2])
}
