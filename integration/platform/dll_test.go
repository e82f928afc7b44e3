//go:build linux

package platform

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"runtime"
)

// forwardingDLL returns a Windows library that has one function, which is that
// of another library: target is "library.function".
//
// Go programs need ProcessPrng of bcryptprimitives.dll, which every Windows has
// since version 8 and wine since version 9; Debian 12 has wine 8.
func forwardingDLL(name, function, target string) []byte {
	const (
		imageBase = 0x180000000
		section   = 0x1000 // where the only section lies in memory
		align     = 0x200  // of the pieces of the file
		directory = 40     // size of the export directory
	)
	// One section: the export directory, the tables of functions, names and
	// ordinals with one entry each, and the texts. An address within the section
	// in the table of functions is the text of a forwarder.
	texts := []byte(name + "\x00" + function + "\x00" + target + "\x00")
	const tables = section + directory
	nameAt := uint32(tables + 12)
	functionAt := nameAt + uint32(len(name)) + 1
	targetAt := functionAt + uint32(len(function)) + 1
	var exports bytes.Buffer
	put(&exports,
		struct {
			Flags, Time, Version, Name, Base, Functions, Names, FunctionTable, NameTable, OrdinalTable uint32
		}{Name: nameAt, Base: 1, Functions: 1, Names: 1, FunctionTable: tables, NameTable: tables + 4, OrdinalTable: tables + 8},
		targetAt, functionAt, uint32(0), texts)

	optional := pe.OptionalHeader64{
		Magic: 0x20b, SizeOfInitializedData: align, BaseOfCode: section, ImageBase: imageBase,
		SectionAlignment: 0x1000, FileAlignment: align,
		MajorOperatingSystemVersion: 6, MajorSubsystemVersion: 6,
		SizeOfImage: 2 * section, SizeOfHeaders: align, Subsystem: pe.IMAGE_SUBSYSTEM_WINDOWS_GUI,
		DllCharacteristics: pe.IMAGE_DLLCHARACTERISTICS_NX_COMPAT, NumberOfRvaAndSizes: 16,
	}
	optional.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT] = pe.DataDirectory{VirtualAddress: section, Size: uint32(exports.Len())}
	machine := map[string]uint16{"amd64": pe.IMAGE_FILE_MACHINE_AMD64, "arm64": pe.IMAGE_FILE_MACHINE_ARM64}
	var file bytes.Buffer
	file.WriteString("MZ")
	file.Write(make([]byte, 0x3c-file.Len()))
	put(&file, uint32(0x40), []byte("PE\x00\x00"),
		pe.FileHeader{
			Machine: machine[runtime.GOARCH], NumberOfSections: 1, SizeOfOptionalHeader: uint16(binary.Size(optional)),
			Characteristics: pe.IMAGE_FILE_EXECUTABLE_IMAGE | pe.IMAGE_FILE_LARGE_ADDRESS_AWARE | pe.IMAGE_FILE_DLL,
		},
		optional,
		pe.SectionHeader32{
			Name: [8]byte{'.', 'e', 'd', 'a', 't', 'a'}, VirtualSize: uint32(exports.Len()), VirtualAddress: section,
			SizeOfRawData: align, PointerToRawData: align,
			Characteristics: pe.IMAGE_SCN_CNT_INITIALIZED_DATA | pe.IMAGE_SCN_MEM_READ,
		})
	file.Write(make([]byte, align-file.Len()))
	file.Write(exports.Bytes())
	file.Write(make([]byte, 2*align-file.Len()))
	return file.Bytes()
}

// put appends values as they lie in memory.
func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		_ = binary.Write(b, binary.LittleEndian, v) // of fixed size, to memory
	}
}
