// SPDX-License-Identifier: Apache-2.0

package route

import (
	"bytes"
	"hash/maphash"
)

// Placeholder stands for a segment that varies, and rest for all behind the deepest level.
const (
	Placeholder = "{id}"
	rest        = "{rest...}"
)

const (
	// maxDepth is how many segments of a path are told apart.
	maxDepth = 8
	// proven is how often a segment is seen before it counts on a level with few others.
	proven = 2
	// established is how often it is seen before nothing can take its place.
	established = 32
)

// Server is whose paths are learned together.
type Server struct {
	Port       uint16
	Executable string
}

// Options bound what a Learner keeps.
type Options struct {
	// Children is how many segments a level tells apart. More are one Placeholder.
	Children int
	// Nodes is how many segments of all levels are kept for each server, Servers how many
	// servers there can be. Paths beyond have no route.
	Nodes, Servers int
}

// Learner learns route templates from paths that servers answered. Segments that look like
// numbers or keys are placeholders at once. Others are when a level has too many.
//
// Who asks for many paths of a server that answers all of them fills levels. What was
// established before stays, and a new segment that is asked for often still gets its place
// while there is one. If there is none, what nobody asks for any more is forgotten. It is not
// safe for concurrent use.
type Learner struct {
	options Options
	seed    maphash.Seed
	servers map[Server]*tree
}

// NewLearner makes a Learner that knows nothing.
func NewLearner(options Options) *Learner {
	return &Learner{options: options, seed: maphash.MakeSeed(), servers: map[Server]*tree{}}
}

// tree has the paths of a server.
type tree struct {
	root level
	// nodes counts the levels behind the root, loose those of them that are loose.
	nodes, loose int
	// refused counts the paths that found no room since the tree was last thinned.
	refused int
}

// level is a place in paths: what precedes it, and what follows.
type level struct {
	// route is the template of what precedes.
	route string
	// ends is set if a path was seen that ends here.
	ends bool
	// hits counts the paths that were learned here, up to established.
	hits     int
	children map[string]*level
	// varying is the level behind a placeholder.
	varying *level
	// crowded is set once there were too many segments. Others are a placeholder then.
	crowded bool
	// loose is set behind the placeholder of a crowded level. Such levels can take half of all,
	// so that paths that nobody uses twice leave room for others.
	loose bool
	// candidates are segments that were seen and have no level.
	candidates []candidate
}

type candidate struct {
	hash uint64
	seen int
}

// Teaches reports whether a path is learned from an answer with this status. Other answers
// often come before a server reads the path.
func Teaches(status int) bool { return 200 <= status && status <= 299 || status == 500 }

// Find returns the template of a path; "" if none is known. The path has no query.
func (l *Learner) Find(s Server, path []byte) string {
	t := l.servers[s]
	if t == nil {
		return ""
	}
	return l.walk(t, path, false)
}

// Learn learns a path and returns its template, as far as it is known.
func (l *Learner) Learn(s Server, path []byte) string {
	t := l.servers[s]
	if t == nil {
		if len(l.servers) >= l.options.Servers {
			return ""
		}
		t = &tree{}
		l.servers[s] = t
	}
	if t.refused >= l.options.Nodes {
		t.refused = 0
		t.thin(&t.root)
	}
	return l.walk(t, path, true)
}

func (l *Learner) walk(t *tree, path []byte, learn bool) string {
	if len(path) == 0 || path[0] != '/' {
		return ""
	}
	at := &t.root
	for depth := 0; ; depth++ {
		path = bytes.TrimLeft(path, "/")
		if len(path) == 0 {
			break
		}
		segment := path
		if i := bytes.IndexByte(path, '/'); i >= 0 {
			segment = path[:i]
		}
		path = path[len(segment):]
		if depth == maxDepth {
			at = l.placeholder(t, at, rest, learn)
			path = nil
		} else {
			at = l.next(t, at, segment, learn)
		}
		if at == nil {
			return ""
		}
		if learn && at.hits < established {
			at.hits++
		}
	}
	if learn {
		at.ends = true
	}
	switch {
	case !at.ends:
		return ""
	case at == &t.root:
		return "/"
	default:
		return at.route
	}
}

// next returns the level behind a segment; nil if it is not known.
func (l *Learner) next(t *tree, at *level, segment []byte, learn bool) *level {
	if varies(segment) {
		return l.placeholder(t, at, Placeholder, learn)
	}
	if child := at.children[string(segment)]; child != nil {
		return child
	}
	if !learn {
		if at.crowded {
			return at.varying
		}
		return nil
	}
	return l.unknown(t, at, segment)
}

// unknown decides about a segment that has no level. The first one on a level gets it at once.
func (l *Learner) unknown(t *tree, at *level, segment []byte) *level {
	need := proven
	if at.crowded {
		need = established
	} else if at != &t.root && len(at.children) == 0 && len(at.candidates) == 0 {
		return l.child(t, at, segment)
	}
	if l.seen(at, segment) >= need {
		if len(at.children) < l.options.Children {
			return l.child(t, at, segment)
		}
		if !at.crowded {
			l.collapse(t, at)
		}
	}
	if at.crowded {
		return l.placeholder(t, at, Placeholder, true)
	}
	return nil
}

// seen counts a segment. Of many, those that are seen often keep a count that is not much too
// low (the counters of Misra and Gries). A level with more of them than counters is crowded.
func (l *Learner) seen(at *level, segment []byte) int {
	hash := maphash.Bytes(l.seed, segment)
	for i := range at.candidates {
		if c := &at.candidates[i]; c.hash == hash {
			c.seen++
			return c.seen
		}
	}
	if len(at.candidates) < l.options.Children {
		at.candidates = append(at.candidates, candidate{hash, 1})
		return 1
	}
	at.crowded = true
	kept := at.candidates[:0]
	for _, c := range at.candidates {
		if c.seen--; c.seen > 0 {
			kept = append(kept, c)
		}
	}
	at.candidates = kept
	return 0
}

// child makes the level behind a segment; nil if there is no room.
func (l *Learner) child(t *tree, at *level, segment []byte) *level {
	child := l.level(t, at, string(segment))
	if child == nil {
		return nil
	}
	if at.children == nil {
		at.children = map[string]*level{}
	}
	at.children[string(segment)] = child
	hash := maphash.Bytes(l.seed, segment)
	for i, c := range at.candidates {
		if c.hash == hash {
			last := len(at.candidates) - 1
			child.hits = c.seen - 1 // the present one is counted with all others
			at.candidates[i] = at.candidates[last]
			at.candidates = at.candidates[:last]
			break
		}
	}
	return child
}

func (l *Learner) placeholder(t *tree, at *level, name string, learn bool) *level {
	if at.varying == nil && learn {
		at.varying = l.level(t, at, name)
	}
	return at.varying
}

func (l *Learner) level(t *tree, at *level, segment string) *level {
	loose := at.loose || at.crowded && segment == Placeholder
	if t.nodes >= l.options.Nodes || loose && t.loose >= l.options.Nodes/2 {
		t.refused++
		return nil
	}
	t.nodes++
	if loose {
		t.loose++
	}
	return &level{route: at.route + "/" + segment, loose: loose}
}

// collapse makes one placeholder of the segments of a level, except those that are
// established.
func (l *Learner) collapse(t *tree, at *level) {
	at.crowded = true
	for segment, child := range at.children {
		if child.hits < established {
			t.forget(child)
			delete(at.children, segment)
		}
	}
}

// thin halves how often levels were seen, and forgets those that were not for long. So what
// filled a tree once does not keep all other paths out for ever.
func (t *tree) thin(v *level) {
	for segment, child := range v.children {
		if child.unused() {
			t.forget(child)
			delete(v.children, segment)
			continue
		}
		t.thin(child)
	}
	if v.varying == nil {
		return
	}
	if v.varying.unused() {
		t.forget(v.varying)
		v.varying = nil
		return
	}
	t.thin(v.varying)
}

// unused reports whether a level was not seen since its count became 0. Else it halves it.
func (v *level) unused() bool {
	if v.hits == 0 {
		return true
	}
	v.hits /= 2
	return false
}

// forget counts a level and those behind it no more.
func (t *tree) forget(v *level) {
	t.nodes--
	if v.loose {
		t.loose--
	}
	for _, child := range v.children {
		t.forget(child)
	}
	if v.varying != nil {
		t.forget(v.varying)
	}
}
