// SPDX-License-Identifier: Apache-2.0

package privacy

import "bytes"

// Target has the parts of a request's target, as sent. They are secret until Path and Query
// have seen them.
type Target struct {
	// Scheme and Authority are those of the absolute form, or of CONNECT. The authority has
	// no userinfo.
	Scheme, Authority []byte
	// HadUserinfo is set if the authority had some.
	HadUserinfo bool
	// Path is "*" in the asterisk form, and empty in CONNECT's.
	Path []byte
	// Query is what follows the first question mark; nil without one.
	Query []byte
}

// Split takes a target apart: /path?query, scheme://authority/path?query, authority, *.
// Whatever else was sent is a path.
func Split(method, target []byte) Target {
	var t Target
	rest := target
	if string(method) == "CONNECT" && bytes.IndexByte(target, '/') < 0 && bytes.IndexByte(target, '?') < 0 {
		t.authority(target)
		return t
	}
	if scheme, after, found := cutScheme(target); found {
		t.Scheme = scheme
		end := len(after)
		if i := bytes.IndexAny(after, `/\?#`); i >= 0 {
			end = i
			if late := lateAt(after, i); late >= 0 {
				// The slash is a part of the password.
				end = len(after)
				if i = bytes.IndexAny(after[late:], `/\?#`); i >= 0 {
					end = late + i
				}
			}
		}
		t.authority(after[:end])
		rest = after[end:]
	}
	if i := bytes.IndexByte(rest, '?'); i >= 0 {
		t.Path, t.Query = rest[:i], rest[i+1:]
	} else {
		t.Path = rest
	}
	return t
}

func (t *Target) authority(s []byte) {
	if i := bytes.LastIndexByte(s, '@'); i >= 0 {
		t.HadUserinfo = true
		s = s[i+1:]
	}
	t.Authority = s
}

// Userinfo lists that the target had userinfo, which Split has left out.
func (t *Target) Userinfo(list *List) {
	if t.HadUserinfo {
		list.add("userinfo")
	}
}

// cutScheme cuts scheme:// from a target.
func cutScheme(target []byte) (scheme, rest []byte, found bool) {
	for i, c := range target {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':' && bytes.HasPrefix(target[i:], []byte("://")):
			return target[:i], target[i+3:], true
		default:
			return nil, target, false
		}
	}
	return nil, target, false
}
