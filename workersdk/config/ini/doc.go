// Package ini reads the INI files of brokers and workers and edits them in
// place. The dialect is that of Python's configparser without interpolation,
// because the files of existing installations were written by and for it:
// comments on lines of their own behind # or ;, `=` or `:` between key and
// value, deeper indented lines continue a value, keys without regard to case.
// A Schema ties the keys to the fields of a struct.
package ini
