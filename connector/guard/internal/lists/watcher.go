// SPDX-License-Identifier: Apache-2.0

package lists

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Entry is an address or a prefix of a list.
type Entry struct {
	Prefix netip.Prefix
	// Until is when it ends, since boot; or Forever.
	Until  time.Duration
	Line   int
	Reason string

	ttl time.Duration
	// lines have this prefix.
	lines int
	// missing is since when readings did not contain it; 0 if they do.
	missing time.Duration
}

// Update says what a file contains now.
type Update struct {
	File string
	// Gone: the file does not exist any more, or is not matched any more.
	Gone bool
	// Entries are all of the file. A prefix is there once.
	Entries []Entry
	// Faults are told once for each state of the file; Untold counts those beyond the limit.
	Faults []Fault
	Untold int
}

// Settings of a watcher.
type Settings struct {
	// Patterns are as in filepath.Glob. One may match nothing yet.
	Patterns []string
	Limits   Limits
	// Refuse may be nil.
	Refuse Refuse
}

// Watcher follows the files that match patterns. It belongs to one goroutine, which calls Poll every
// second or so. It polls, because a notification says nothing about files of network file
// systems, and a file that changes 100 times a second must not be read as often.
type Watcher struct {
	set   Settings
	files map[string]*file
	// tooMany tells that there were too many files, which is reported once.
	tooMany bool
	again   bool
}

// file is what is known of a file.
type file struct {
	info    os.FileInfo
	entries map[netip.Prefix]Entry
	// settled: what was read can't be half written.
	settled bool
	// absent counts the polls in a row that did not find it.
	absent int
	// fault is the last one of the file itself that was reported, told those of its lines.
	fault string
	told  []Fault
}

// settle is for how long a file must not have changed, to be whole for sure.
const settle = 2 * time.Second

// patience is for how long readings of a file that is not settled must miss what it had before.
const patience = 3 * time.Second

// New makes a watcher that knows no file.
func New(set Settings) *Watcher {
	return &Watcher{set: set, files: map[string]*file{}}
}

// Reload makes the next Poll read all files again, because Refuse would now answer differently.
func (w *Watcher) Reload() { w.again = true }

// Poll reads what has changed. Now is since boot; the wall clock is only compared with times of
// files. After an error of a file, its last entries stay.
func (w *Watcher) Poll(now time.Duration, wall time.Time) []Update {
	var updates []Update
	names, fault := w.match()
	if fault != nil {
		updates = append(updates, Update{File: fault.File, Faults: []Fault{*fault}})
	}
	for _, name := range names {
		if u := w.look(name, now, wall); u != nil {
			updates = append(updates, *u)
		}
	}
	for name, f := range w.files {
		if slices.Contains(names, name) {
			continue
		}
		// A folder that can't be read is no reason to forget what its files said.
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		// A file that is replaced in two steps is absent for a moment.
		if f.absent++; f.absent >= 2 {
			delete(w.files, name)
			updates = append(updates, Update{File: name, Gone: true})
		}
	}
	w.again = false
	return updates
}

// All is what the files contain, as the last Poll found them.
func (w *Watcher) All(now time.Duration) []Update {
	updates := make([]Update, 0, len(w.files))
	for name, f := range w.files {
		updates = append(updates, *f.update(name, now, nil, 0))
	}
	return updates
}

// match finds the files. The fault is told once.
func (w *Watcher) match() ([]string, *Fault) {
	var names []string
	for _, pattern := range w.set.Patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // Validate has told it.
		}
		for _, name := range found {
			if name == pattern || !isLeftover(filepath.Base(name)) {
				names = append(names, filepath.Clean(name))
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) <= w.set.Limits.Files {
		w.tooMany = false
		return names, nil
	}
	// New files push out none that is known.
	slices.SortStableFunc(names, func(a, b string) int { return w.unknown(a) - w.unknown(b) })
	first := names[w.set.Limits.Files]
	names = names[:w.set.Limits.Files]
	if w.tooMany {
		return names, nil
	}
	w.tooMany = true
	return names, &Fault{File: first, Reason: "not read, nor those after it: too many files match"}
}

func (w *Watcher) unknown(name string) int {
	if w.files[name] == nil {
		return 1
	}
	return 0
}

// isLeftover tells whether a name is one that editors, package managers and writers of temporary files
// give to what is no list.
func isLeftover(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") {
		return true
	}
	for _, suffix := range []string{".tmp", ".swp", ".bak", ".dpkg-new", ".dpkg-old", ".dpkg-dist", ".rpmnew", ".rpmsave"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// Validate tells what is wrong with the patterns.
func Validate(patterns []string) error {
	var faults []error
	for _, pattern := range patterns {
		if _, err := filepath.Match(pattern, ""); err != nil {
			faults = append(faults, &fs.PathError{Op: "match", Path: pattern, Err: err})
		}
	}
	return errors.Join(faults...)
}

// look reads a file if it has changed.
func (w *Watcher) look(name string, now time.Duration, wall time.Time) *Update {
	info, err := os.Stat(name)
	f := w.files[name]
	if errors.Is(err, fs.ErrNotExist) {
		if f != nil {
			f.absent++
		}
		return nil
	}
	if f == nil {
		f = &file{}
		w.files[name] = f
	}
	f.absent = 0
	if why := unusable(info, err); why != "" {
		return f.fail(name, why, now)
	}
	if !w.again && f.settled && f.fault == "" && same(f.info, info) {
		return nil
	}
	return w.read(name, f, now, wall)
}

// unusable says why a file is not read.
func unusable(info os.FileInfo, err error) string {
	switch {
	case err != nil:
		return withoutPath(err)
	case !info.Mode().IsRegular():
		return "not a regular file"
	case info.Mode().Perm()&0o002 != 0:
		return "everybody may write it"
	}
	return ""
}

// withoutPath is an error without the name that a Fault has anyway.
func withoutPath(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}

// fail tells once that a file can't be read. What it contained last stays.
func (f *file) fail(name, why string, now time.Duration) *Update {
	if f.fault == why {
		return nil
	}
	f.fault = why
	return f.update(name, now, []Fault{{File: name, Reason: why}}, 0)
}

func same(a, b os.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// read reads a file and compares it with what was there.
func (w *Watcher) read(name string, f *file, now time.Duration, wall time.Time) *Update {
	opened, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return f.fail(name, withoutPath(err), now)
	}
	defer func() { _ = opened.Close() }()
	// It may be another file by now.
	info, err := opened.Stat()
	if why := unusable(info, err); why != "" {
		return f.fail(name, why, now)
	}
	content, err := parse(opened, name, w.set.Limits, w.set.Refuse)
	if err != nil {
		return f.fail(name, withoutPath(err), now)
	}
	age := wall.Sub(info.ModTime())
	settled := age >= settle || age <= -settle
	// A file that came by renaming is whole, however young.
	whole := settled || f.info == nil || !os.SameFile(f.info, info)
	if content.tail != nil && (settled || whole && f.info != nil) {
		content.entries = append(content.entries, *content.tail)
	}
	first := f.info == nil
	f.info, f.settled, f.fault = info, settled, ""
	changed := f.merge(content.entries, first, whole, age, now)
	if !changed && slices.Equal(f.told, content.faults) {
		return nil
	}
	faults := content.faults
	if slices.Equal(f.told, faults) {
		faults, content.untold = nil, 0
	}
	f.told = content.faults
	return f.update(name, now, faults, content.untold)
}
