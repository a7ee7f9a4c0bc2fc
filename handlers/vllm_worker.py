"""What is asked of vLLM's own worker processes; vLLM mixes the class into its worker there."""

import sys


class HostBytes:
    """Counts the weights that a sleeping worker keeps in the host's memory."""

    def host_bytes(self) -> int:
        """Return the bytes of the copies that are there now; 0 where sleeping moves nothing."""
        cumem = sys.modules.get("vllm.device_allocator.cumem")
        if cumem is None or cumem.CuMemAllocator.instance is None:
            return 0
        copies = (
            data.cpu_backup_tensor
            for data in cumem.CuMemAllocator.instance.pointer_to_data.values()
        )
        return sum(copy.nbytes for copy in copies if copy is not None)
