// Package certtool is the command certtool: it makes, lists, checks, revokes and
// replaces the CURVE certificates of a folder. Keys and files are those of
// package curve; each sub-command has a file here.
package certtool
