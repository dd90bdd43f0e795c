// SPDX-License-Identifier: Apache-2.0

package series

import "github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"

// share is what one network namespace has of the store.
type share struct {
	bundles, ifaces int
	counts          [declared.Metrics]int
}

// shares keeps a network namespace from taking all series: from three quarters of a
// limit on, only the host's may hold more than a quarter of it.
type shares struct {
	ownNetNS uint32
	of       map[uint32]*share
}

// used reports whether a namespace gets no more: taken of limit are in use, and it
// holds held of them itself.
func (s *shares) used(netns uint32, limit, taken, held int) bool {
	return taken >= limit || netns != s.ownNetNS && taken >= limit-limit/4 && held >= (limit+3)/4
}

// held is what a namespace has; nothing is kept of one that has nothing.
func (s *shares) held(netns uint32) share {
	if held, ok := s.of[netns]; ok {
		return *held
	}
	return share{}
}

// get is for callers that change it.
func (s *shares) get(netns uint32) *share {
	if held, ok := s.of[netns]; ok {
		return held
	}
	held := &share{}
	s.of[netns] = held
	return held
}

// tidy forgets namespaces that have nothing.
func (s *shares) tidy() {
	for netns, held := range s.of {
		if *held == (share{}) {
			delete(s.of, netns)
		}
	}
}
