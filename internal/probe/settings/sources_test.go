// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"encoding/binary"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMask(t *testing.T) {
	for _, length := range []int{1, 48, 63, 64, 65, 100, 127, 128} {
		s := Sources{IPv6Prefix: length}
		halves := s.Mask()
		raw := binary.LittleEndian.AppendUint64(nil, halves[0]) // as a program reads it
		raw = binary.LittleEndian.AppendUint64(raw, halves[1])
		assert.Equal(t, []byte(net.CIDRMask(length, 128)), raw, length)
	}
}
