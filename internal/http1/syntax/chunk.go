// SPDX-License-Identifier: Apache-2.0

package syntax

import "bytes"

// maxChunkLine bounds the line of a chunk's size with its extensions.
const maxChunkLine = 16 << 10

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkDataEnd
	chunkTrailers
)

// Chunks reads a body in chunks, in the pieces that it comes in. The zero value is ready.
type Chunks struct {
	// left is what of the present chunk did not come yet.
	left int64
	end  End
	// line are the bytes of the present line, digits those of its number.
	line      uint32
	digits    uint8
	state     chunkState
	extension bool
}

// Left is what of the present chunk has not come yet: only data, no framing.
func (c *Chunks) Left() int64 {
	if c.state != chunkData {
		return 0
	}
	return c.left
}

// PassOver passes over bytes of the present chunk.
func (c *Chunks) PassOver(n int64) { c.take(n) }

func (c *Chunks) take(n int64) {
	if c.left -= n; c.left == 0 {
		c.state = chunkDataEnd
	}
}

// Part is what Next found: content, or bytes of trailers, or neither.
type Part struct {
	Content, Trailer []byte
	// Size are all bytes of the part, framing included.
	Size int
	// Done is set if the body ends here; Bad if it is not in chunks.
	Done, Bad bool
}

// Next reads a part of data, which is not empty. Call it again with the rest.
func (c *Chunks) Next(data []byte) Part {
	switch c.state {
	case chunkData:
		n := int(min(int64(len(data)), c.left))
		c.take(int64(n))
		return Part{Content: data[:n], Size: n}
	case chunkDataEnd:
		return c.dataEnd(data[0])
	case chunkTrailers:
		n, done := c.end.Find(data)
		return Part{Trailer: data[:n], Size: n, Done: done}
	default:
		return c.size(data)
	}
}

// dataEnd reads one byte of the line break behind the data of a chunk.
func (c *Chunks) dataEnd(b byte) Part {
	switch b {
	case '\r':
		c.line++
		return Part{Size: 1, Bad: c.line > 1}
	case '\n':
		c.state, c.line = chunkSize, 0
		return Part{Size: 1}
	default:
		return Part{Size: 1, Bad: true}
	}
}

// size reads the line of a chunk's size, or what came of it.
func (c *Chunks) size(data []byte) Part {
	n := bytes.IndexByte(data, '\n')
	line := data
	if n >= 0 {
		line = data[:n]
	}
	if c.line += uint32(len(line)); c.line > maxChunkLine || !c.number(line) {
		return Part{Size: len(line), Bad: true}
	}
	if n < 0 {
		return Part{Size: len(line)}
	}
	if c.digits == 0 {
		return Part{Size: n + 1, Bad: true}
	}
	c.line, c.digits, c.extension = 0, 0, false
	if c.state = chunkData; c.left == 0 {
		c.state, c.end = chunkTrailers, End{}
	}
	return Part{Size: n + 1}
}

func (c *Chunks) number(line []byte) bool {
	for _, b := range line {
		digit := hex(b)
		switch {
		case c.extension:
			return true
		case digit >= 0:
			if c.digits == 0 {
				c.left = 0
			}
			if c.digits++; c.digits > 15 {
				return false
			}
			c.left = c.left<<4 | int64(digit)
		case b == ';' || b == '\r' || isSpace(b):
			c.extension = true
		default:
			return false
		}
	}
	return true
}

func hex(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b && b <= 'f':
		return int(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int(b-'A') + 10
	default:
		return -1
	}
}
