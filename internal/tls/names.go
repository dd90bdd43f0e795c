// SPDX-License-Identifier: Apache-2.0

package tls

import "strconv"

// VersionName is the value of tls.protocol.version; "" if unknown.
func VersionName(version uint16) string {
	switch version {
	case VersionSSL3:
		return "3.0"
	case Version10:
		return "1.0"
	case Version12 - 1:
		return "1.1"
	case Version12:
		return "1.2"
	case Version13:
		return "1.3"
	default:
		return ""
	}
}

// ProtocolName is the value of tls.protocol.name; "" if unknown.
func ProtocolName(version uint16) string {
	switch {
	case version == VersionSSL3:
		return "ssl"
	case VersionName(version) != "":
		return "tls"
	default:
		return ""
	}
}

// String is the name of an alert in IANA's registry; "" if unknown.
func (a Alert) String() string {
	if a < 80 {
		return a.common()
	}
	switch a {
	case 80:
		return "internal_error"
	case 86:
		return "inappropriate_fallback"
	case 90:
		return "user_canceled"
	case 100:
		return "no_renegotiation"
	case 109:
		return "missing_extension"
	case 110:
		return "unsupported_extension"
	case 111:
		return "certificate_unobtainable"
	case 112:
		return "unrecognized_name"
	case 113:
		return "bad_certificate_status_response"
	case 114:
		return "bad_certificate_hash_value"
	case 115:
		return "unknown_psk_identity"
	case 116:
		return "certificate_required"
	case 117:
		return "general_error"
	case 120:
		return "no_application_protocol"
	case 121:
		return "ech_required"
	default:
		return ""
	}
}

// common are the names of the alerts that TLS 1.0 had.
func (a Alert) common() string {
	switch a {
	case AlertClose:
		return "close_notify"
	case 10:
		return "unexpected_message"
	case 20:
		return "bad_record_mac"
	case 21:
		return "decryption_failed"
	case 22:
		return "record_overflow"
	case 30:
		return "decompression_failure"
	case 40:
		return "handshake_failure"
	case 41:
		return "no_certificate"
	case 42:
		return "bad_certificate"
	case 43:
		return "unsupported_certificate"
	case 44:
		return "certificate_revoked"
	case 45:
		return "certificate_expired"
	case 46:
		return "certificate_unknown"
	case 47:
		return "illegal_parameter"
	case 48:
		return "unknown_ca"
	case 49:
		return "access_denied"
	case 50:
		return "decode_error"
	case 51:
		return "decrypt_error"
	case 60:
		return "export_restriction"
	case 70:
		return "protocol_version"
	case 71:
		return "insufficient_security"
	default:
		return ""
	}
}

// AppendCipher appends the name of a cipher suite, or its number.
func AppendCipher(b []byte, cipher uint16) []byte {
	return appendName(b, CipherName(cipher), cipher)
}

// AppendVersion appends the name of a version, or its number.
func AppendVersion(b []byte, version uint16) []byte {
	return appendName(b, VersionName(version), version)
}

// AppendAlert appends the name of an alert, or its number.
func AppendAlert(b []byte, alert Alert) []byte {
	if name := alert.String(); name != "" {
		return append(b, name...)
	}
	return strconv.AppendUint(b, uint64(alert), 10)
}

// appendName appends a name; without one 0x and four digits.
func appendName(b []byte, name string, number uint16) []byte {
	if name != "" {
		return append(b, name...)
	}
	return appendHexadecimal(append(b, "0x"...), number)
}
