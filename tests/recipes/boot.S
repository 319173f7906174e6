/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A boot sector that is a guest: writes 2 MiB of its disk from 1 MiB on, 32 KiB at a time, reads them
 * back, compares, says "all right" or "wrong" on the serial port, and switches the machine off.
 */

	.code16
	.globl _start
_start:
	ljmp $0, $begin
begin:
	xorw %ax, %ax
	movw %ax, %ss
	movw $0x7c00, %sp
	movw %ax, %ds
	movb %dl, drive
	cld

	/* 32 KiB at 1000:0, of which no page is one word, or does not compress. */
	movw $0x1000, %ax
	movw %ax, %es
	xorw %di, %di
fill:
	imulw $25173, %bx
	addw $13849, %bx
	movw %bx, %ax
	andw $0x0303, %ax
	stosw
	cmpw $0x8000, %di
	jb fill

again:
	movw $0x1000, segment
	movb $0x43, %ah
	call transfer
	movw $0x2000, segment
	movb $0x42, %ah
	call transfer
	call compare
	addl $64, sector
	decb left
	jnz again

	movw $right, %si
end:
	xorw %ax, %ax
	movw %ax, %ds
	movw $0x3f8, %dx
say:
	lodsb
	testb %al, %al
	jz off
	outb %al, %dx
	jmp say
off:
	/* S5 of the PC's power management, where SeaBIOS puts it. */
	movw $0x604, %dx
	movw $0x2000, %ax
	outw %ax, %dx
	hlt

transfer:
	movb $0, %al
	movb drive, %dl
	movw $packet, %si
	int $0x13
	jc bad
	ret

compare:
	movw $0x2000, %ax
	movw %ax, %es
	movw $0x1000, %ax
	movw %ax, %ds
	xorw %si, %si
	xorw %di, %di
	movw $0x4000, %cx
	repe cmpsw
	movw $0, %ax
	movw %ax, %ds
	jne bad
	ret

bad:
	movw $wrong, %si
	jmp end

right:	.asciz "\r\nguest: all right\r\n"
wrong:	.asciz "\r\nguest: wrong\r\n"
drive:	.byte 0
left:	.byte 64

packet:	.byte 16, 0
	.word 64
	.word 0
segment: .word 0
sector:	.long 2048, 0

	.org 510
	.word 0xaa55
