// SPDX-License-Identifier: Apache-2.0

package reading

import (
	"encoding/base64"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// redacted is what the receiver writes for what it hides.
const redacted = "REDACTED"

// maxUser is how much of a name is kept.
const maxUser = 128

// Identity is who a request says it is from.
type Identity struct {
	// Hash tells users and tokens apart; 0 without either.
	Hash uint64
	// User is the name; empty for a token.
	User string
}

// Identity takes the user that the record names, else the one of Basic authentication, else a
// token or key. Header fields count only if the receiver records and shows them.
func (r *Record) Identity(key uint64) Identity {
	if user := r.user(); user != "" {
		return Identity{Hash(key, "u"+user), user}
	}
	token := r.header("authorization")
	if scheme, credentials, ok := strings.Cut(token, " "); ok && strings.EqualFold(scheme, "Basic") {
		if user := basic(credentials); user != "" {
			return Identity{Hash(key, "u"+user), user}
		}
	}
	if token == "" {
		token = r.header("x-api-key")
	}
	if token == "" {
		return Identity{}
	}
	return Identity{Hash: Hash(key, "t"+token)}
}

func (r *Record) user() string {
	if r.UserID != "" {
		return r.UserID[:min(len(r.UserID), maxUser)]
	}
	return r.UserName[:min(len(r.UserName), maxUser)]
}

// header is the first value of a field that is not hidden.
func (r *Record) header(name string) string {
	if r.Attributes == (pcommon.Map{}) {
		return ""
	}
	v, ok := r.Attributes.Get(headerPrefix + name)
	if !ok || v.Type() != pcommon.ValueTypeSlice || v.Slice().Len() == 0 || v.Slice().At(0).Type() != pcommon.ValueTypeStr {
		return ""
	}
	if text := v.Slice().At(0).Str(); text != redacted {
		return text
	}
	return ""
}

// basic is the user of Basic credentials.
func basic(credentials string) string {
	const most = 1024
	if len(credentials) > most {
		return ""
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credentials))
	if err != nil {
		return ""
	}
	user, _, _ := strings.Cut(string(text), ":")
	return user[:min(len(user), maxUser)]
}
