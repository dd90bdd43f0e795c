// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unset is the login uid of a process that nobody logged in to make.
const unset = 1<<32 - 1

// server is a process of sshd.
type server struct {
	pid, parent int
	uid, login  uint32
	// spawner is the login uid of the process that started it.
	spawner uint32
	netns   string
	// privsep is sshd's user, as far as it matters: to processes that are not root's.
	privsep      uint32
	privsepKnown bool
	sockets      []socket
}

// errHidden is why sessions are not found.
var errHidden = errors.New("processes of sshd can't be examined without CAP_SYS_PTRACE, so the clients of ssh sessions are not known: name their addresses in allow")

// findServers finds the processes of sshd. With errHidden it also returns those that it could
// examine.
func findServers(proc string) (map[int]*server, error) {
	dir, err := os.Open(proc)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	servers := map[int]*server{}
	var hidden error
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		is, err := isSSHD(filepath.Join(proc, name))
		if errors.Is(err, fs.ErrPermission) && isNamedSSHD(filepath.Join(proc, name)) {
			hidden = errHidden
		}
		if !is {
			continue
		}
		if p, err := readServer(proc, pid); err == nil && len(servers) < maxServers {
			servers[pid] = p
		}
	}
	return servers, hidden
}

// isSSHD asks for the executable, which must be root's: every user can give a process any name.
// Where the executable may not be read, nothing proves that it is sshd.
func isSSHD(dir string) (bool, error) {
	link, err := os.Readlink(filepath.Join(dir, "exe"))
	if err != nil || !isServer(strings.TrimSuffix(link, " (deleted)")) {
		return false, err
	}
	var file unix.Stat_t
	err = unix.Stat(filepath.Join(dir, "exe"), &file)
	return err == nil && file.Uid == 0 && file.Mode&0o022 == 0, err
}

// isNamedSSHD tells whether a process of root's has the name of sshd. That proves nothing, but is a
// reason to warn.
func isNamedSSHD(dir string) bool {
	name, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil || !isServer(strings.TrimSpace(string(name))) {
		return false
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return false
	}
	_, uid, err := parseStatus(status)
	return err == nil && uid == 0
}

// loginOf is the login uid of a process. Without audit in the kernel there is none.
func loginOf(dir string) uint32 {
	login, err := os.ReadFile(filepath.Join(dir, "loginuid"))
	if err != nil {
		return unset
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(login)), 10, 32)
	if err != nil {
		return unset
	}
	return uint32(n)
}

func readServer(proc string, pid int) (*server, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return nil, err
	}
	p := &server{pid: pid}
	if p.parent, p.uid, err = parseStatus(status); err != nil {
		return nil, err
	}
	p.login, p.spawner = loginOf(dir), loginOf(filepath.Join(proc, strconv.Itoa(p.parent)))
	p.netns, _ = os.Readlink(filepath.Join(dir, "ns/net"))
	if p.uid == 0 {
		return p, nil
	}
	p.privsep, p.privsepKnown = privsepUser(filepath.Join(dir, "root/etc/passwd"))
	if !p.privsepKnown {
		// Before authentication the process is in an empty directory.
		p.privsep, p.privsepKnown = privsepUser(filepath.Join(proc, strconv.Itoa(p.parent), "root/etc/passwd"))
	}
	return p, nil
}

var errStatus = errors.New("a status without parent or uid")

// parseStatus finds the parent and the effective uid.
func parseStatus(status []byte) (parent int, uid uint32, err error) {
	found := 0
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		switch {
		case name == "PPid" && len(fields) == 1:
			parent, err = strconv.Atoi(fields[0])
			found++
		case name == "Uid" && len(fields) == 4:
			var n uint64
			n, err = strconv.ParseUint(fields[1], 10, 32)
			uid = uint32(n)
			found++
		}
		if err != nil {
			return 0, 0, errStatus
		}
	}
	if found != 2 {
		return 0, 0, errStatus
	}
	return parent, uid, nil
}

// privsepUser is the uid of the user sshd, as the password file of the process has it.
func privsepUser(passwd string) (uint32, bool) {
	file, err := os.Open(passwd)
	if err != nil {
		return 0, false
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(io.LimitReader(file, 1<<20))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 3 || fields[0] != "sshd" {
			continue
		}
		uid, err := strconv.ParseUint(fields[2], 10, 32)
		return uint32(uid), err == nil
	}
	return 0, false
}

// isGone tells whether a process ended while it was read.
func isGone(err error) bool { return errors.Is(err, unix.ESRCH) }
