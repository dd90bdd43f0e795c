// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"time"
)

// The sources that were served well outlive a restart: for a day, no forged packet may get them
// blocked. A snapshot is magic, version, how old the younger generation is, and both generations:
// whether each is full, how many keys it has, and the keys.
const (
	magic   = "ebtcpsrv"
	version = 1
)

// ErrSnapshot is why a snapshot is not restored.
var ErrSnapshot = errors.New("the saved sources are damaged or have another version")

// Snapshot returns the sources that were served well. Now is since boot.
func (j *Judge) Snapshot(now time.Duration) []byte {
	s := j.served
	s.turn(now)
	out := append([]byte(magic), version)
	out = binary.AppendUvarint(out, uint64(now-s.began))
	for _, generation := range []struct {
		keys map[netip.Prefix]struct{}
		full bool
	}{{s.current, s.full}, {s.before, s.wasFull}} {
		full := byte(0)
		if generation.full {
			full = 1
		}
		out = append(out, full)
		out = binary.AppendUvarint(out, uint64(len(generation.keys)))
		for key := range generation.keys {
			addr := key.Addr().AsSlice()
			out = append(out, byte(len(addr)))
			out = append(out, addr...)
			out = append(out, byte(key.Bits()))
		}
	}
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out))
}

// Restore puts back what a snapshot has, of which so much time has passed since. If it is not known
// how much, it is none. It must come before the first record.
func (j *Judge) Restore(data []byte, passed, now time.Duration) error {
	end := len(data) - 4
	if end < len(magic)+1 || string(data[:len(magic)]) != magic || data[len(magic)] != version ||
		crc32.ChecksumIEEE(data[:end]) != binary.BigEndian.Uint32(data[end:]) {
		return ErrSnapshot
	}
	rest := data[len(magic)+1 : end]
	age, n := binary.Uvarint(rest)
	if n <= 0 || age > uint64(2*memory) {
		return ErrSnapshot
	}
	rest = rest[n:]
	s := newServedSet(2 * j.served.limit)
	var ok bool
	if s.current, s.full, rest, ok = generation(rest, s.limit); !ok {
		return ErrSnapshot
	}
	if s.before, s.wasFull, rest, ok = generation(rest, s.limit); !ok || len(rest) > 0 {
		return ErrSnapshot
	}
	// It may have begun before the host was booted.
	s.began = now - time.Duration(age) - max(passed, 0)
	if s.began == 0 {
		s.began = -1
	}
	s.turn(now)
	j.served = s
	return nil
}

// generation reads the keys of one generation. What has no room makes it full.
func generation(data []byte, limit int) (keys map[netip.Prefix]struct{}, full bool, rest []byte, ok bool) {
	if len(data) < 2 {
		return nil, false, nil, false
	}
	full = data[0] != 0
	count, n := binary.Uvarint(data[1:])
	if n <= 0 {
		return nil, false, nil, false
	}
	data = data[1+n:]
	keys = map[netip.Prefix]struct{}{}
	for ; count > 0; count-- {
		if len(data) < 2 || len(data) < int(data[0])+2 {
			return nil, false, nil, false
		}
		size := int(data[0])
		addr, valid := netip.AddrFromSlice(data[1 : 1+size])
		key := netip.PrefixFrom(addr, int(data[1+size]))
		if data = data[size+2:]; !valid || !key.IsValid() || key != key.Masked() {
			return nil, false, nil, false
		}
		if len(keys) >= limit {
			full = true
			continue
		}
		keys[key] = struct{}{}
	}
	return keys, full, data, true
}
