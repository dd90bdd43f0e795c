// SPDX-License-Identifier: Apache-2.0

package series

import "github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"

// share is how much of the store one network namespace holds.
type share struct {
	sets, ifaces int
	counts       [declared.Metrics]int
}

// shares keeps a network namespace from taking all series. Once three quarters of a limit are
// taken, only the host's namespace may hold more than a quarter.
type shares struct {
	ownNetNS uint32
	of       map[uint32]*share
}

// used reports whether a namespace gets no more, if taken of limit are in use and it holds held
// of them.
func (s *shares) used(netns uint32, limit, taken, held int) bool {
	return taken >= limit || netns != s.ownNetNS && taken >= limit-limit/4 && held >= (limit+3)/4
}

// held returns the share of a namespace, without storing one for a namespace that has nothing.
func (s *shares) held(netns uint32) share {
	if held, ok := s.of[netns]; ok {
		return *held
	}
	return share{}
}

// get returns the share of a namespace for callers that change it.
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
