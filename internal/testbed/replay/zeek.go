// SPDX-License-Identifier: Apache-2.0

//go:build linux

package replay

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Row is a request in Zeek's log of a capture. A field that Zeek left unset is empty.
type Row struct {
	Client, Server             netip.AddrPort
	Method, Host, URI, Version string
	Status                     int
}

// Rows reads a log, and corrects what it says of answers to requests that have no version.
// Zeek does not look for a status line there, and calls the status 0.
func (c *Capture) Rows(path string) ([]Row, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a log of requests: %w", err)
	}
	columns := map[string]int{}
	var rows []Row
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if fields[0] == "#fields" {
			for i, name := range fields[1:] {
				columns[name] = i
			}
		}
		if strings.HasPrefix(line, "#") || len(fields) < len(columns) {
			continue
		}
		row, err := rowOf(func(name string) string { return fields[columns[name]] })
		if err != nil {
			return nil, fmt.Errorf("read the log %s: %w", path, err)
		}
		if row.Status == 0 && row.Version == "0.9" {
			row.Status = c.firstStatus(row.Server, row.Client)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func rowOf(field func(string) string) (row Row, err error) {
	end := func(address, port string) netip.AddrPort {
		parsed, failed := netip.ParseAddrPort("[" + field(address) + "]:" + field(port))
		if failed != nil {
			if parsed, failed = netip.ParseAddrPort(field(address) + ":" + field(port)); failed != nil {
				err = failed
			}
		}
		return parsed
	}
	set := func(name string) string {
		if value := field(name); value != "-" && value != "(empty)" {
			return value
		}
		return ""
	}
	row = Row{
		Client: end("id.orig_h", "id.orig_p"), Server: end("id.resp_h", "id.resp_p"),
		Method: set("method"), Host: set("host"), URI: set("uri"), Version: set("version"),
	}
	if status := set("status_code"); status != "" {
		if row.Status, err = strconv.Atoi(status); err != nil {
			return row, err
		}
	}
	return row, err
}

// firstStatus is that of the first status line which a server sent.
func (c *Capture) firstStatus(server, client netip.AddrPort) int {
	for _, f := range c.Frames {
		if f.TCP == nil || f.From != server || f.To != client || !bytes.HasPrefix(f.TCP.Payload, []byte("HTTP/1.")) {
			continue
		}
		if words := bytes.Fields(f.TCP.Payload); len(words) > 1 {
			status, _ := strconv.Atoi(string(words[1]))
			return status
		}
	}
	return 0
}
