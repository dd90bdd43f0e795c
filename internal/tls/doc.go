// SPDX-License-Identifier: Apache-2.0

// Package tls reads how a TLS connection begins, as far as that is in clear: records, the
// ClientHello with its JA3 and JA4 fingerprints, the ServerHello, and alerts. It decrypts
// nothing.
//
// Up to TLS 1.2 each side's messages are in clear until its ChangeCipherSpec. In TLS 1.3
// they are encrypted after the ServerHello.
package tls

// Types of records.
const (
	RecordChangeCipher = 20
	RecordAlert        = 21
	RecordHandshake    = 22
	RecordApplication  = 23
)

// Types of handshake messages.
const (
	MessageClientHello = 1
	MessageServerHello = 2
	MessageCertificate = 11
	MessageServerDone  = 14
)

// Versions as they are on the wire.
const (
	VersionSSL3 = 0x0300
	Version10   = 0x0301
	Version12   = 0x0303
	Version13   = 0x0304
)

const (
	// HeaderSize is that of a record, MessageHeaderSize that of a handshake message.
	HeaderSize        = 5
	MessageHeaderSize = 4
	// maxRecord is the size of the largest record: 16 KiB and what encryption adds.
	maxRecord = 1<<14 + 2048
)

// Header is the header of a record.
type Header struct {
	Type    uint8
	Version uint16
	Length  int
}

// ParseHeader reads the header of a record. It reports false if this is no TLS.
func ParseHeader(b []byte) (Header, bool) {
	if len(b) < HeaderSize {
		return Header{}, false
	}
	h := Header{Type: b[0], Version: uint16(b[1])<<8 | uint16(b[2]), Length: int(b[3])<<8 | int(b[4])}
	known := RecordChangeCipher <= h.Type && h.Type <= RecordApplication
	return h, known && b[1] == 3 && h.Length <= maxRecord
}

// BeginsRecord reports whether bytes are the beginning of a record. They may be fewer than
// those of a header.
func BeginsRecord(b []byte) bool {
	if len(b) >= HeaderSize {
		_, ok := ParseHeader(b)
		return ok
	}
	return len(b) > 0 && RecordChangeCipher <= b[0] && b[0] <= RecordApplication && (len(b) == 1 || b[1] == 3)
}

// BeginsHello reports whether bytes are the beginning of a record with a ClientHello. They
// may be fewer than those of a header.
func BeginsHello(b []byte) bool {
	if len(b) == 0 || b[0] != RecordHandshake || !BeginsRecord(b) {
		return false
	}
	return len(b) <= HeaderSize || b[HeaderSize] == MessageClientHello
}
