// SPDX-License-Identifier: Apache-2.0

package tls

// retryRandom is the random value of a HelloRetryRequest (RFC 8446, 4.1.3).
const retryRandom = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" +
	"\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"

// Answer is what a ServerHello chooses. Slices are parts of the message.
type Answer struct {
	Version, Cipher uint16
	SessionID       []byte
	// Protocol is what ALPN chose, up to TLS 1.2. Later it is encrypted.
	Protocol []byte
	// Retry is set if this is a HelloRetryRequest: the client sends another hello.
	Retry bool
	// PSK is set if TLS 1.3 resumes a session, or uses a key that both sides know.
	PSK bool
}

// ParseAnswer reads the body of a ServerHello. It reports whether it is well-formed.
func ParseAnswer(body []byte, a *Answer) bool {
	*a = Answer{}
	c := cursor{rest: body}
	a.Version = c.uint16()
	a.Retry = string(c.take(32)) == retryRandom
	a.SessionID = c.short()
	a.Cipher = c.uint16()
	c.uint8() // compression
	if c.bad || len(a.SessionID) > 32 {
		return false
	}
	if len(c.rest) == 0 {
		return true
	}
	extensions := cursor{rest: c.long()}
	for len(extensions.rest) > 0 {
		kind, data := extensions.uint16(), cursor{rest: extensions.long()}
		switch kind {
		case extensionVersions:
			a.Version = data.uint16()
		case extensionPSK:
			a.PSK = true
		case extensionProtocols:
			list := cursor{rest: data.long()}
			a.Protocol = list.short()
			data.bad = data.bad || list.bad
		}
		if extensions.bad || data.bad {
			return false
		}
	}
	return !c.bad && len(c.rest) == 0
}

// Alert is the description of an alert.
type Alert uint8

// AlertClose says that the sender sends no more. It is no failure.
const AlertClose Alert = 0

// AlertSize is the size of an alert that is not encrypted, AlertFatal its level if the
// connection ends with it.
const (
	AlertSize  = 2
	AlertFatal = 2
)
