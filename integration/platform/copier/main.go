//go:build windows

// Command copier copies a file, and has the copy to itself for a second and a half: a
// broker that follows the folder sees it and cannot read it.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: copier FROM TO")
		os.Exit(2)
	}
	if err := copyAlone(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func copyAlone(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	name, err := syscall.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	// Package os would share it.
	h, err := syscall.CreateFile(name, syscall.GENERIC_WRITE, 0, nil, syscall.CREATE_NEW, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(h), to)
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	time.Sleep(1500 * time.Millisecond)
	return nil
}
