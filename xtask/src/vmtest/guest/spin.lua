-- Holds a request between its read and its forwarding, for as many milliseconds of CPU time as
-- stand in /run/spin_ms. It never sleeps: the pair of read and write stays in one turn.
core.register_action("spin", { "http-req" }, function()
  local file = io.open("/run/spin_ms")
  if not file then
    return
  end
  local till = os.clock() + (file:read("n") or 0) / 1000
  file:close()
  while os.clock() < till do
  end
end, 0)
