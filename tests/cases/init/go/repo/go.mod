module github.com/ada/garden/v2

go 1.21
