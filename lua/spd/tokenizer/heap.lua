--- A heap of integers in a list: the smallest is on top.
local heap = {}

--- heap.push(list, value): add a value.
function heap.push(list, value)
  local i = #list + 1
  while i > 1 and list[i // 2] > value do
    list[i] = list[i // 2]
    i = i // 2
  end
  list[i] = value
end

--- heap.pop(list) -> value: take the smallest value away. The list must not be empty.
function heap.pop(list)
  local top, count = list[1], #list - 1
  local value = list[count + 1]
  list[count + 1] = nil
  if count == 0 then return top end
  local i = 1
  while 2 * i <= count do
    local child = 2 * i
    if child < count and list[child + 1] < list[child] then child = child + 1 end
    if list[child] >= value then break end
    list[i] = list[child]
    i = child
  end
  list[i] = value
  return top
end

return heap
