// SPDX-License-Identifier: Apache-2.0

package tls

// cursor reads from the front of bytes. After a read beyond the end it is bad, and all that
// follows is 0.
type cursor struct {
	rest []byte
	bad  bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || len(c.rest) < n {
		c.bad, c.rest = true, nil
		return nil
	}
	part := c.rest[:n]
	c.rest = c.rest[n:]
	return part
}

func (c *cursor) uint8() uint8 {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return uint16(b[0])<<8 | uint16(b[1])
	}
	return 0
}

// short reads bytes after their length of one byte, long after that of two.
func (c *cursor) short() []byte { return c.take(int(c.uint8())) }

func (c *cursor) long() []byte { return c.take(int(c.uint16())) }
