;; Asks for 4 GiB before it runs.
(component
  (core module $m (memory 65536) (func (export "go")))
  (core instance $i (instantiate $m))
  (func (export "go") (canon lift (core func $i "go"))))
