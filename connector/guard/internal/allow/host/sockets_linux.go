// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// States of a socket in /proc/net/tcp.
const (
	established = 1
	synSent     = 2
	listen      = 10
)

// maxSockets is how many sockets of a network namespace are read, maxFiles how many descriptors of
// a process.
const (
	maxSockets = 1 << 20
	maxFiles   = 1024
)

// socket is a line of /proc/net/tcp.
type socket struct {
	local, remote netip.AddrPort
	state         uint8
	inode         uint64
}

// look is one look at all processes. It reads the sockets of a network namespace once.
type look struct {
	proc string
	// tables are by network namespace, and have sockets by inode.
	tables map[string]map[uint64]socket
}

// read finds the sockets that a process holds.
func (l *look) read(p *server) error {
	dir := filepath.Join(l.proc, strconv.Itoa(p.pid))
	inodes, err := held(filepath.Join(dir, "fd"))
	if err != nil || len(inodes) == 0 {
		return err
	}
	table, known := l.tables[p.netns]
	if !known || p.netns == "" {
		if table, err = readTables(filepath.Join(dir, "net")); err != nil {
			return err
		}
		l.tables[p.netns] = table
	}
	for _, inode := range inodes {
		if s, ok := table[inode]; ok {
			p.sockets = append(p.sockets, s)
		}
	}
	return nil
}

// held are the inodes of the sockets among a process's descriptors.
func held(dir string) ([]uint64, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := file.Readdirnames(maxFiles)
	_ = file.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var inodes []uint64
	for _, name := range names {
		link, err := os.Readlink(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		number, ok := strings.CutPrefix(link, "socket:[")
		if !ok {
			continue
		}
		if inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64); err == nil {
			inodes = append(inodes, inode)
		}
	}
	return inodes, nil
}

// readTables reads the TCP sockets of a network namespace that are established, begin or listen.
func readTables(dir string) (map[uint64]socket, error) {
	table := map[uint64]socket{}
	for _, name := range []string{"tcp", "tcp6"} {
		file, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) && name == "tcp6" {
			continue
		}
		if err != nil {
			return nil, err
		}
		err = readTable(file, table)
		_ = file.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return table, nil
}

func readTable(from io.Reader, table map[uint64]socket) error {
	lines := bufio.NewScanner(from)
	for lines.Scan() && len(table) < maxSockets {
		s, ok := parseSocket(lines.Text())
		if ok && s.inode != 0 && (s.state == established || s.state == synSent || s.state == listen) {
			table[s.inode] = s
		}
	}
	return lines.Err()
}

// parseSocket reads a line of /proc/net/tcp or tcp6.
func parseSocket(line string) (socket, bool) {
	fields := strings.Fields(line)
	if len(fields) < 10 {
		return socket{}, false
	}
	local, localOK := parseEndpoint(fields[1])
	remote, remoteOK := parseEndpoint(fields[2])
	state, stateErr := strconv.ParseUint(fields[3], 16, 8)
	inode, inodeErr := strconv.ParseUint(fields[9], 10, 64)
	ok := localOK && remoteOK && stateErr == nil && inodeErr == nil
	return socket{local, remote, uint8(state), inode}, ok
}

// parseEndpoint reads an address and a port in hexadecimal digits. The address is in words of 32
// bits, each in the host's byte order.
func parseEndpoint(text string) (netip.AddrPort, bool) {
	address, port, ok := strings.Cut(text, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	words, hexErr := hex.DecodeString(address)
	if !ok || err != nil || hexErr != nil || len(words)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(words); i += 4 {
		binary.BigEndian.PutUint32(words[i:], binary.NativeEndian.Uint32(words[i:]))
	}
	addr, ok := netip.AddrFromSlice(words)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), ok
}
