module kip.test/bench/programs

go 1.26.0
